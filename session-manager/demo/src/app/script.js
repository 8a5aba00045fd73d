// The page works without this script. With it, the two experiments show what comes of them without
// a reload, and times are in the visitor's zone.
'use strict';

const REQUESTS = 20;

/** Fetches the page as it is now, which is no visit, and exchanges these parts of it. */
async function refresh(...ids) {
  const answer = await fetch('/now');
  if (!answer.ok) throw new Error(`the page now has status ${answer.status}`);
  const now = new DOMParser().parseFromString(await answer.text(), 'text/html');
  for (const id of ids) document.getElementById(id).replaceWith(now.getElementById(id));
  showLocalTimes();
}

/** Posts a form without fields. The demo answers what it has done with a redirect. */
function post(path) {
  return fetch(path, { method: 'POST', redirect: 'manual' });
}

function text(id) {
  return document.getElementById(id)?.textContent;
}

async function countAtOnce() {
  await refresh('hello', 'counter');
  if (text('visits') === '0') return 'This session has ended. Please reload the page.';
  const before = Number(text('count'));
  const answers = await Promise.all(Array.from({ length: REQUESTS }, () => post('/count')));
  await refresh('counter', 'events');
  const counted = Number(text('count')) - before;
  const done = answers.filter((answer) => answer.type === 'opaqueredirect').length;
  const refused = done < REQUESTS ? ` ${REQUESTS - done} were refused, and say so.` : '';
  const lost = counted < done ? ` ${done - counted} were lost.` : ' None was lost.';
  return `${counted} of ${REQUESTS} counted.${refused}${lost}`;
}

async function logOutMeanwhile(say) {
  if (!text('user')) return 'Log in first, so that there is somebody to log out.';
  const slow = post('/slow');
  say('The slow request is under way …');
  // The demo answers it after two seconds, and should have begun with it before the logout.
  await new Promise((resolve) => { setTimeout(resolve, 500); });
  await post('/logout');
  say('Logged out. The slow request is still under way …');
  const { status, type } = await slow;
  await refresh('hello', 'state', 'events');
  const user = text('user') ?? 'nobody';
  const outcome = type === 'opaqueredirect' ? 'was carried out'
    : `was refused with status ${status}`;
  return `The slow request ${outcome}, and ${user} is logged in.`;
}

/** Lets a form's button run an experiment, whose outcome is announced in the paragraph below. */
function connect(id, experiment) {
  const form = document.getElementById(id);
  const outcome = document.getElementById(`${id}-outcome`);
  const say = (words) => { outcome.textContent = words; };
  let isRunning = false;
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (isRunning) return;
    isRunning = true;
    say('Under way …');
    try {
      say(await experiment(say));
    } catch (error) {
      say(`That didn't work: ${error.message}.`);
    }
    isRunning = false;
  });
}

function showLocalTimes() {
  const options = { day: 'numeric', month: 'long', year: 'numeric', hour: '2-digit',
    minute: '2-digit', hour12: false, timeZoneName: 'short' };
  const format = new Intl.DateTimeFormat('en-GB', options);
  for (const time of document.querySelectorAll('time')) {
    time.textContent = format.format(new Date(time.dateTime));
  }
}

/** Screen readers announce what changes in a page, and not what was in it when it was loaded. */
function announceMessage() {
  const message = document.querySelector('.flash');
  message?.replaceChildren(message.textContent);
}

connect('at-once', countAtOnce);
connect('meanwhile', logOutMeanwhile);
showLocalTimes();
// A screen reader has to know the page before it notices a change.
addEventListener('load', () => { setTimeout(announceMessage, 200); });
