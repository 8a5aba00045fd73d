//! What must hold after every run.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::requests::{Answer, FORM, Kind, Manager, Run, Start, World, opens};

/// What sequential executions of requests leave behind: by which of the requests were executed.
pub(crate) struct Reference {
    states: HashMap<BTreeSet<usize>, BTreeSet<String>>,
}

impl Reference {
    pub(crate) fn new(world: &World, kinds: &[Kind]) -> Self {
        let mut states = HashMap::<_, BTreeSet<_>>::new();
        let mut orders = vec![Vec::new()];
        while let Some(order) = orders.pop() {
            let places = |n: usize| order.iter().filter(|&&own| own == n).count();
            let needed = |n: usize| if kinds[n] == Kind::DestroyOthers { 2 } else { 1 };
            if order.iter().all(|&n| places(n) == needed(n)) {
                let executed = order.iter().copied().collect();
                let left = world.run_in_sequence(kinds, &order);
                states.entry(executed).or_default().insert(left);
            }
            for n in (0..kinds.len()).filter(|&n| places(n) < needed(n)) {
                orders.push(order.iter().copied().chain([n]).collect());
            }
        }
        Self { states }
    }

    /// Says what doesn't hold.
    pub(crate) fn check(&self, world: &World, kinds: &[Kind], run: &Run) -> Result<(), String> {
        self.check_serializable(run)?;
        let sessions = world.manager(Arc::clone(&run.store));
        check_index(&sessions)?;
        check_answers(world, kinds, run, &sessions)?;
        check_forms(world, kinds, run, &sessions)?;
        check_cookies(world, kinds, run, &sessions)
    }

    /// Requests that were answered `Ok` have had all of their effect, refused ones none, and failed
    /// ones all or none.
    fn check_serializable(&self, run: &Run) -> Result<(), String> {
        let of = |answer: fn(&Answer) -> bool| {
            (0..run.answers.len()).filter(move |&n| answer(&run.answers[n]))
        };
        let done: BTreeSet<_> = of(|answer| matches!(answer, Answer::Ok(_))).collect();
        let failed: Vec<_> = of(|answer| *answer == Answer::Failed).collect();
        let mut executed = vec![done];
        for n in failed {
            for mut also in executed.clone() {
                also.insert(n);
                executed.push(also);
            }
        }
        if executed.iter().any(|executed| self.states[executed].contains(&run.state)) {
            return Ok(());
        }
        Err(format!("no sequential execution of {executed:?} leaves this behind"))
    }
}

/// Each session that says who has logged in is in the index, and no other is.
fn check_index(sessions: &Manager) -> Result<(), String> {
    let mut by_data = BTreeSet::new();
    sessions
        .for_each(|session| {
            let key = session.key().as_str().to_owned();
            by_data.extend(session.subject().map(|subject| (subject, key)));
            ControlFlow::Continue(())
        })
        .expect("memory doesn't fail");
    let mut by_index = BTreeSet::new();
    for subject in ["ada", "grace"] {
        for session in sessions.sessions_of(subject).expect("memory doesn't fail") {
            by_index.insert((subject.to_owned(), session.key().as_str().to_owned()));
        }
    }
    if by_data == by_index { Ok(()) } else { Err("the index and the data disagree".to_owned()) }
}

/// What a request that was answered `Ok` promises, whatever came later.
fn check_answers(
    world: &World,
    kinds: &[Kind],
    run: &Run,
    sessions: &Manager,
) -> Result<(), String> {
    for (n, (kind, answer)) in kinds.iter().zip(&run.answers).enumerate() {
        if !matches!(answer, Answer::Ok(_)) {
            continue;
        }
        let opened = opens(sessions, &world.cookie);
        let takes_values = |(other, kind): (usize, &Kind)| other != n && kind.takes_values();
        let may_be_gone = kinds.iter().enumerate().any(takes_values);
        match kind {
            Kind::Insert if !may_be_gone && !run.state.contains(&format!("inserted by {n}=")) => {
                return Err(format!("what {n} has inserted is lost, and nobody took it out"));
            }
            Kind::LogInAsAda | Kind::LogInAsGrace | Kind::RenewAndInsert
                if !may_be_gone && !run.state.contains(&format!("logged in by {n}=")) =>
            {
                return Err(format!("the login of {n} is lost, and nobody took it out"));
            }
            Kind::LogOut | Kind::DestroyByKey if opened.is_some() => {
                return Err(format!("{n} has ended the session, and its token opens {opened:?}"));
            }
            Kind::LogOut => {
                for (_, token) in cookies(run) {
                    let opened = opens(sessions, token).unwrap_or_default();
                    if opened.contains("from=\"browser\"") {
                        return Err(format!("{n} has logged out, and a token opens {opened}"));
                    }
                }
            }
            Kind::LogInAsAda | Kind::LogInAsGrace | Kind::RenewAndInsert => {
                let is_same = *kind == Kind::LogInAsAda && world.start == Start::Ada;
                let login = format!("logged in by {n}");
                if !is_same && opened.is_some_and(|opened| opened.contains(&login)) {
                    return Err(format!("the token from before opens the login of {n}"));
                }
            }
            // Others may have changed before that who has logged in.
            Kind::DestroyOthers
                if world.start == Start::Ada
                    && kinds.iter().all(|kind| kind.keeps_rights())
                    && opens(sessions, &world.device).is_some() =>
            {
                return Err(format!("{n} has ended the others, and one of them is there"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Forms of pages from before a renewal are good for the grace, and those of a session that was
/// ended nowhere.
fn check_forms(world: &World, kinds: &[Kind], run: &Run, sessions: &Manager) -> Result<(), String> {
    let held = [&*world.cookie].into_iter().chain(cookies(run).map(|(_, token)| token));
    let held: Vec<_> =
        held.map(|token| sessions.load([token]).expect("memory doesn't fail")).collect();
    let keep_forms = kinds.iter().all(|kind| kind.keeps_forms(world.start));
    let ended = |n: usize| matches!(kinds[n], Kind::LogOut | Kind::DestroyByKey);
    let is_ended = (0..kinds.len()).any(|n| ended(n) && matches!(run.answers[n], Answer::Ok(_)));
    for n in 0..kinds.len() {
        if keep_forms && !world.form.is_empty() && run.answers[n] == Answer::Refused {
            return Err(format!("the form that {n} has sent was refused"));
        }
        for session in &held {
            let form: Option<String> = session.get(&format!("{FORM}{n}")).expect("a string");
            if keep_forms && form.is_some_and(|form| session.check_form_token(&form).is_err()) {
                return Err(format!("the form that {n} has shown is refused"));
            }
        }
    }
    for (place, session) in held.iter().enumerate() {
        let is_good = session.check_form_token(&world.form).is_ok();
        // The old cookie leads to the session. A login that came too late for it has begun its own.
        let from: Option<String> = session.get("from").expect("a string");
        let is_browsers = place == 0 || from.as_deref() == Some("browser");
        if is_ended && is_good {
            return Err("a form of the session that was ended is good".to_owned());
        }
        if keep_forms && is_browsers && !world.form.is_empty() && !is_good {
            return Err("the form from before is refused".to_owned());
        }
    }
    Ok(())
}

/// The cookies that the responses set, with the number of the request.
fn cookies(run: &Run) -> impl Iterator<Item = (usize, &str)> {
    run.answers.iter().enumerate().filter_map(|(n, answer)| match answer {
        Answer::Ok(Some(token)) if !token.is_empty() => Some((n, &**token)),
        _ => None,
    })
}

/// Whichever response comes last, the browser holds the cookie of a live session, or one that is as
/// good as none because nothing is left of the session that the requests were of.
fn check_cookies(
    world: &World,
    kinds: &[Kind],
    run: &Run,
    sessions: &Manager,
) -> Result<(), String> {
    let mut is_left = false;
    sessions
        .for_each(|session| {
            let from = session.get::<String>("from").ok().flatten();
            is_left |= from.as_deref() == Some("browser");
            ControlFlow::Continue(())
        })
        .expect("memory doesn't fail");
    // A failed request may have renewed the session, and not told the browser.
    if !is_left || run.answers.contains(&Answer::Failed) {
        return Ok(());
    }
    // A login that came too late for the session begins its own, which others may end for
    // its user.
    let ends_adas = kinds.iter().any(|kind| matches!(kind, Kind::DestroyOthers | Kind::DestroyAll));
    for (n, token) in cookies(run) {
        let is_ended = ends_adas && kinds[n] == Kind::LogInAsAda;
        if opens(sessions, token).is_none() && !is_ended {
            return Err(format!("the cookie of {n} opens nothing, though the session is live"));
        }
    }
    let is_set = run.answers.iter().any(|answer| matches!(answer, Answer::Ok(Some(_))));
    if !is_set && opens(sessions, &world.cookie).is_none() {
        return Err("nobody has told the browser of the session's token".to_owned());
    }
    Ok(())
}
