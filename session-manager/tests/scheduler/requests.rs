//! What requests do, and what they find.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use serde_json::Value;
use session_manager::{Error, Header, Json, KeyRing, Sealed, SecretKey, SessionManager};
use store_core::{CleanupOptions, Clock, ManualClock, MemoryOptions, OwnedRecord, Store};

use crate::control::{Controller, EndOnDrop, Fault, Gate, Schedules, Workers};
use crate::device::{DeviceRequest, Moment, bindable};
use crate::hooked_store::HookedStore;

/// What a request does. All come with the browser's cookie, but where it is said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Insert,
    Remove,
    Update,
    /// Reads only, and the idle timeout has to be moved.
    Touch,
    LogInAsAda,
    LogInAsGrace,
    /// A login without a subject.
    RenewAndInsert,
    Renew,
    LogOut,
    Clear,
    /// As before, in a process that removes dead cookies: what has no subject ends with it.
    Empty,
    ClearSubject,
    /// Takes over the other session.
    Merge,
    /// Comes with the other session's token, and takes over the browser's.
    MergeFromTheOtherSide,
    DestroyOthers,
    /// An administrator ends all sessions of Ada.
    DestroyAll,
    /// An administrator ends the session, from a list that he has seen before.
    DestroyByKey,
    /// An administrator changes the session, from a list that he has seen before.
    ChangeListed,
    SetDeadline,
    /// Reads only, and the token has to be rotated automatically.
    RotateByItself,
    /// Shows a page with a form, which may be the session's first.
    ShowForm,
    /// Comes with the token of a form from before, if there was one.
    SendForm,
    /// An administrator has all sessions sealed with the newer key, if they are sealed.
    ResealAll,
    /// The browser registers its device, or refreshes the device cookie, as the world says.
    AskDevice,
}

/// Writes plain JSON, or what is sealed, as the world says.
pub(crate) type Manager = SessionManager<Sealed<Json>>;
type Session<'m> = session_manager::Session<'m, Sealed<Json>>;

use Kind::*;

pub(crate) const ALL: [Kind; 24] = [
    Read,
    Insert,
    Remove,
    Update,
    Touch,
    LogInAsAda,
    LogInAsGrace,
    RenewAndInsert,
    Renew,
    LogOut,
    Clear,
    Empty,
    ClearSubject,
    Merge,
    MergeFromTheOtherSide,
    DestroyOthers,
    DestroyAll,
    DestroyByKey,
    ChangeListed,
    SetDeadline,
    RotateByItself,
    ShowForm,
    SendForm,
    ResealAll,
];

pub(crate) const MOST_WRITING: [Kind; 8] =
    [Update, LogInAsAda, LogInAsGrace, Renew, LogOut, Merge, DestroyOthers, RotateByItself];

impl Kind {
    /// Whether who has logged in is the same afterwards.
    pub(crate) fn keeps_rights(self) -> bool {
        matches!(
            self,
            Read | Insert
                | Remove
                | Update
                | Touch
                | Clear
                | Empty
                | DestroyOthers
                | ChangeListed
                | SetDeadline
                | RotateByItself
                | ShowForm
                | SendForm
                | ResealAll
                | AskDevice
        )
    }

    /// Whether the forms of pages from before are good afterwards, for the grace if need be.
    pub(crate) fn keeps_forms(self, start: Start) -> bool {
        let is_same_user = self == LogInAsAda || self == LogInAsGrace && start == Start::Nobody;
        let renews = matches!(self, Renew | RenewAndInsert) || is_same_user;
        !matches!(self, Clear | Empty) && (self.keeps_rights() || renews)
    }

    /// Whether it may take out what another request has put into a session.
    pub(crate) fn takes_values(self) -> bool {
        matches!(
            self,
            LogInAsAda
                | LogInAsGrace
                | LogOut
                | Clear
                | Empty
                | ClearSubject
                | DestroyOthers
                | DestroyAll
                | DestroyByKey
        )
    }
}

/// Who is logged in when the requests come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Nobody,
    Ada,
}

/// Begins the key of the token of the form that a request has shown.
pub(crate) const FORM: &str = "form of ";

/// What there is before the requests come.
pub(crate) struct World {
    pub(crate) start: Start,
    /// The sessions are under their plain tokens, and the requests go over to hashed ones.
    pub(crate) is_plain: bool,
    /// The sessions are sealed with the key 1. Of the processes, some seal with that, and some with
    /// the key 2.
    pub(crate) is_sealed: bool,
    pub(crate) now: DateTime<Utc>,
    pub(crate) rows: Vec<(OwnedRecord, Option<&'static str>)>,
    /// The browser's cookie.
    pub(crate) cookie: String,
    /// The token of a session that can be merged.
    pub(crate) other: String,
    /// The token of Ada's other device.
    pub(crate) device: String,
    /// The token of a form that the browser shows, empty if it shows none.
    pub(crate) form: String,
    /// What the browser sends for its device, if it does.
    pub(crate) device_request: Option<DeviceRequest>,
}

/// What came out of the requests of one run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) answers: Vec<Answer>,
    /// What the store has, and what the tokens from before open.
    pub(crate) state: String,
    pub(crate) store: Arc<dyn StoreWithDebug>,
    pub(crate) has_fault_struck: bool,
}

pub(crate) trait StoreWithDebug: Store + std::fmt::Debug {}

impl<S: Store + std::fmt::Debug> StoreWithDebug for S {}

/// How a request was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The token of the cookie that it sets, empty where it takes the cookie away.
    Ok(Option<String>),
    /// Another request has renewed the session.
    Superseded,
    /// The form was no page's of this session.
    Refused,
    /// The store has failed.
    Failed,
}

impl World {
    /// How many worlds are tried with faults and in triples: a move has more calls of the store,
    /// and takes ten times as long.
    pub(crate) const HASHED: usize = 2;

    /// The worlds, which live forever so that threads can share them. The first
    /// [`HASHED`](Self::HASHED) have no plain tokens.
    pub(crate) fn all() -> [&'static Self; 3] {
        [(Start::Nobody, false), (Start::Ada, false), (Start::Ada, true)]
            .map(|(start, is_plain)| Self::leak(start, is_plain, false, None))
    }

    /// The world in which keys are changed.
    pub(crate) fn sealed() -> &'static Self {
        Self::leak(Start::Ada, false, true, None)
    }

    /// The worlds in which the browser registers its device, and in which it has done so.
    pub(crate) fn with_device() -> [&'static Self; 2] {
        [Moment::Registration, Moment::Refresh]
            .map(|moment| Self::leak(Start::Ada, false, false, Some(moment)))
    }

    fn leak(
        start: Start,
        is_plain: bool,
        is_sealed: bool,
        device: Option<Moment>,
    ) -> &'static Self {
        Box::leak(Box::new(Self::new(start, is_plain, is_sealed, device)))
    }

    fn new(start: Start, is_plain: bool, is_sealed: bool, moment: Option<Moment>) -> Self {
        // The present, because stores on a database have clocks of their own.
        let clock = Arc::new(ManualClock::new(Utc::now().trunc_subsecs(0)));
        let store = store(&clock);
        let sessions = SessionManager::new(Arc::clone(&store))
            .with_codec(codec(is_sealed, 0))
            .with_clock(clock.clone())
            .with_idle_timeout(Duration::from_secs(60 * 60))
            .expect("an hour");
        let sessions = if is_plain { sessions.with_plain_tokens_in_store() } else { sessions };
        let sessions = if moment.is_some() { bindable(sessions) } else { sessions };
        let make = |name: &str, subject: Option<&str>| {
            let mut session = sessions.load([]).expect("memory doesn't fail");
            session.insert("from", name).expect("a string");
            session.insert(&format!("of {name}"), 1).expect("a number");
            session.insert("n", 0).expect("a number");
            if let Some(subject) = subject {
                session.set_subject(subject).expect("a subject");
            }
            token(&session.finish().expect("memory doesn't fail").headers).expect("it is new")
        };
        let subject = (start == Start::Ada).then_some("ada");
        let cookie = make("browser", subject);
        let other = make("other", None);
        let device = make("device", Some("ada"));
        let mut form = String::new();
        if start == Start::Ada && !is_plain {
            let mut session = sessions.load([&*cookie]).expect("memory doesn't fail");
            form = session.form_token().expect("there is randomness");
            session.finish().expect("memory doesn't fail");
        }
        let device_request = moment.map(|moment| DeviceRequest::new(&sessions, &cookie, moment));
        let mut rows = Vec::new();
        store
            .for_each(&mut |record| {
                rows.push((OwnedRecord::new(record.token, record.data, record.expiry), None));
                ControlFlow::Continue(())
            })
            .expect("memory doesn't fail");
        for of_ada in store.find_by_subject("__Host-session:ada").expect("memory doesn't fail") {
            let row = rows.iter_mut().find(|(row, _)| *row == of_ada).expect("it is in the walk");
            row.1 = Some("__Host-session:ada");
        }
        // So that an idle timeout of an hour has to be moved.
        clock.advance(TimeDelta::minutes(30));
        let now = clock.now();
        Self { start, is_plain, is_sealed, now, rows, cookie, other, device, form, device_request }
    }

    fn clock(&self) -> Arc<ManualClock> {
        Arc::new(ManualClock::new(self.now))
    }

    fn store(&self) -> Arc<dyn StoreWithDebug> {
        let store = store(&self.clock());
        self.fill(&store);
        store
    }

    /// Puts into a store what there is before the requests come.
    pub(crate) fn fill(&self, store: &dyn Store) {
        for (row, subject) in &self.rows {
            store.create(&row.token, &row.data, row.expiry, *subject).expect("it is new");
        }
    }

    /// A manager as a process has it.
    pub(crate) fn manager(&self, store: impl Store + 'static) -> Manager {
        self.manager_of_process(0, store)
    }

    fn manager_of_process(&self, n: usize, store: impl Store + 'static) -> Manager {
        let sessions = SessionManager::new(store)
            .with_codec(codec(self.is_sealed, n))
            .with_clock(self.clock())
            .with_kept_values(["from"]);
        let sessions = if self.device_request.is_some() { bindable(sessions) } else { sessions };
        if self.is_plain { sessions.with_hashed_tokens_and_plain_fallback() } else { sessions }
    }

    /// Runs requests in one order.
    pub(crate) fn run(
        &'static self,
        workers: &Workers,
        kinds: &[Kind],
        fault: Option<Fault>,
        schedules: &mut Schedules,
    ) -> Run {
        let store = self.store();
        let controller = Controller::new(kinds.len(), fault, schedules);
        let (answer, answers) = channel();
        for (n, &kind) in kinds.iter().enumerate() {
            let gate = Gate::new(&controller, n);
            let store = Arc::new(HookedStore::new(Arc::clone(&store), gate));
            let (answer, end) = (answer.clone(), EndOnDrop(Arc::clone(&controller), n));
            workers.serve(n, move || {
                let answered = self.serve(kind, n, Arc::clone(&store));
                let told = answer.send((n, answered, store.hook.has_fault_struck()));
                told.expect("the run waits for it");
                drop(end);
            });
        }
        drop(answer);
        controller.wait_for_end(schedules);
        let mut answers: Vec<_> = answers.into_iter().collect();
        assert_eq!(answers.len(), kinds.len(), "no request panics");
        answers.sort_by_key(|(n, ..)| *n);
        let has_fault_struck = answers.iter().any(|(.., has_struck)| *has_struck);
        let answers = answers.into_iter().map(|(_, answer, _)| answer).collect();
        Run { answers, state: self.state(&store), store, has_fault_struck }
    }

    /// Runs requests one after the other. One that ends other sessions may stand in the order
    /// twice: it is loaded at the first place and finished at the second, because what it does to
    /// others doesn't depend on what becomes of its own session in the meantime.
    pub(crate) fn run_in_sequence(&self, kinds: &[Kind], order: &[usize]) -> String {
        let store = self.store();
        let manager = |(n, kind): (usize, &Kind)| self.manager_of(*kind, n, Arc::clone(&store));
        let managers: Vec<_> = kinds.iter().enumerate().map(manager).collect();
        let mut open = Vec::new();
        for &n in order {
            let (kind, sessions) = (kinds[n], &managers[n]);
            if kind != DestroyOthers {
                if let Err(error) = self.handle(kind, n, sessions) {
                    assert!(is_refusal(&error), "{kind:?}: {error}");
                }
            } else if let Some(place) = open.iter().position(|(own, _)| *own == n) {
                let (_, session): (usize, Session<'_>) = open.remove(place);
                session.finish().expect("it writes nothing");
            } else {
                let mut session = sessions.load([&*self.cookie]).expect("memory doesn't fail");
                match self.act(kind, n, &mut session) {
                    Ok(()) => open.push((n, session)),
                    Err(error) => assert!(is_refusal(&error), "{kind:?}: {error}"),
                }
            }
        }
        self.state(&store)
    }

    /// The manager of the process that serves a request.
    fn manager_of(&self, kind: Kind, n: usize, store: impl Store + 'static) -> Manager {
        let hour = Duration::from_secs(60 * 60);
        let sessions = self.manager_of_process(if kind == ResealAll { 1 } else { n }, store);
        match kind {
            Touch => sessions.with_idle_timeout(hour).expect("an hour"),
            // No session of the world says how old its token is.
            RotateByItself => sessions.with_rotation(hour).expect("an hour"),
            Empty => sessions.with_dead_cookies_removed(),
            _ => sessions,
        }
    }

    /// Serves one request in its own process.
    pub(crate) fn serve(&self, kind: Kind, n: usize, store: impl Store + 'static) -> Answer {
        let sessions = self.manager_of(kind, n, store);
        match self.handle(kind, n, &sessions) {
            Ok(headers) => Answer::Ok(token(&headers)),
            Err(Error::Superseded) => Answer::Superseded,
            Err(Error::FormToken) => Answer::Refused,
            Err(Error::Store(store_core::Error::Unreachable { .. })) => Answer::Failed,
            Err(error) => panic!("{kind:?}: {error}"),
        }
    }

    fn handle(&self, kind: Kind, n: usize, sessions: &Manager) -> Result<Vec<Header>, Error> {
        match kind {
            ResealAll => return sessions.reseal_all().map(|_| Vec::new()),
            AskDevice => {
                let request = self.device_request.as_ref().expect("the world has a device");
                return request.send(sessions, &self.cookie);
            }
            DestroyAll => return sessions.destroy_all_of("ada").map(|_| Vec::new()),
            DestroyByKey => {
                // The list is from before; its keys are those of the store.
                let seen = self.manager(self.store());
                let seen = seen.load([&*self.cookie])?.key().cloned().expect("it is stored");
                return sessions.destroy(&seen).map(|()| Vec::new());
            }
            ChangeListed => {
                let seen = self.manager(self.store());
                let key = seen.load([&*self.cookie])?.key().cloned().expect("it is stored");
                let mut outcome = Ok(true);
                seen.for_each(|listed| {
                    if *listed.key() == key {
                        outcome = sessions.update(&listed, |session| {
                            session.insert(&format!("changed by {n}"), n)
                        });
                        return ControlFlow::Break(());
                    }
                    ControlFlow::Continue(())
                })?;
                return outcome.map(|_| Vec::new());
            }
            _ => {}
        }
        let own = if kind == MergeFromTheOtherSide { &self.other } else { &self.cookie };
        let mut session = sessions.load([&**own])?;
        self.act(kind, n, &mut session)?;
        Ok(session.finish()?.headers)
    }

    fn act(&self, kind: Kind, n: usize, session: &mut Session<'_>) -> Result<(), Error> {
        match kind {
            Read | Touch | RotateByItself => session.get::<u32>("n").map(drop),
            Insert => session.insert(&format!("inserted by {n}"), n),
            Remove => {
                session.remove("of browser");
                Ok(())
            }
            Update => session.update("n", |n: Option<u32>| n.unwrap_or(0) + 1).map(drop),
            LogInAsAda => {
                session.set_subject("ada")?;
                session.insert(&format!("logged in by {n}"), n)
            }
            LogInAsGrace => {
                session.set_subject("grace")?;
                session.insert(&format!("logged in by {n}"), n)
            }
            RenewAndInsert => {
                session.renew()?;
                session.insert(&format!("logged in by {n}"), n)
            }
            Renew => session.renew(),
            LogOut => session.destroy(),
            Clear | Empty => {
                session.clear();
                Ok(())
            }
            ClearSubject => session.clear_subject(),
            Merge => session.merge(&self.other).map(drop),
            MergeFromTheOtherSide => session.merge(&self.cookie).map(drop),
            DestroyOthers => match session.destroy_others() {
                Err(Error::SubjectMissing) => Ok(()),
                outcome => outcome,
            },
            SetDeadline => {
                session.set_deadline(self.now + TimeDelta::hours(2));
                Ok(())
            }
            ShowForm => {
                let form = session.form_token()?;
                session.insert(&format!("{FORM}{n}"), form)
            }
            SendForm => {
                session.check_form_token(&self.form)?;
                session.update("n", |n: Option<u32>| n.unwrap_or(0) + 1).map(drop)
            }
            DestroyAll | DestroyByKey | ChangeListed | ResealAll | AskDevice => {
                unreachable!("they have no session")
            }
        }
    }

    /// What the store has, and what the tokens from before open, without what differs by chance.
    pub(crate) fn state(&self, store: &Arc<dyn StoreWithDebug>) -> String {
        let sessions = self.manager(Arc::clone(store));
        let mut rows = Vec::new();
        sessions
            .for_each(|session| {
                let values = show(session.keys(), |key| session.get(key));
                let (subject, deadline) = (session.subject(), session.deadline());
                rows.push(format!("{values} of {subject:?} until {deadline}"));
                ControlFlow::Continue(())
            })
            .expect("memory doesn't fail");
        rows.sort();
        let opens = [&self.cookie, &self.other, &self.device].map(|token| opens(&sessions, token));
        format!(
            "{}\nbrowser: {:?}\nother: {:?}\ndevice: {:?}",
            rows.join("\n"),
            opens[0],
            opens[1],
            opens[2]
        )
    }
}

/// What a token opens.
pub(crate) fn opens(sessions: &Manager, token: &str) -> Option<String> {
    let session = sessions.load([token]).expect("memory doesn't fail");
    session.key()?;
    let values = show(session.keys(), |key| session.get(key));
    Some(format!("{values} of {:?}, {:?}", session.subject(), session.device_binding()))
}

/// Whether a request that ended so has changed nothing.
fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::Superseded | Error::FormToken)
}

/// Values in the order of their keys, but tokens of forms, which differ by chance.
fn show<'a>(
    keys: impl Iterator<Item = &'a str>,
    get: impl Fn(&str) -> Result<Option<Value>, Error>,
) -> String {
    let show = |key: &str| {
        let value = get(key).expect("it is JSON").expect("it is listed");
        format!("{key}={value}")
    };
    let mut values: Vec<_> = keys.filter(|key| !key.starts_with(FORM)).map(show).collect();
    values.sort();
    values.join(", ")
}

/// What a process writes, and reads.
fn codec(is_sealed: bool, n: usize) -> Sealed<Json> {
    let key = |id: u8| SecretKey::from_bytes(&[id; 32]).expect("it has the length of one");
    let (sealing, opening) = if n.is_multiple_of(2) { (1, 2) } else { (2, 1) };
    let keys = KeyRing::new(sealing.into(), key(sealing)).with_key(opening.into(), key(opening));
    let codec = Sealed::new(Json, keys.expect("they have different ids"));
    if is_sealed { codec } else { codec.with_plain_written() }
}

fn store(clock: &Arc<ManualClock>) -> Arc<dyn StoreWithDebug> {
    let options = MemoryOptions::new().with_cleanup(CleanupOptions::disabled());
    let clock: Arc<dyn Clock> = Arc::clone(clock) as _;
    Arc::new(options.with_clock(clock).build().expect("no thread is needed"))
}

/// The token of the cookie that the headers set, empty where they take it away.
fn token(headers: &[Header]) -> Option<String> {
    let (_, cookie) = headers.iter().find(|(name, _)| *name == "Set-Cookie")?;
    let value = cookie.split(';').next().and_then(|pair| pair.split_once('='));
    value.map(|(_, value)| value.to_owned())
}
