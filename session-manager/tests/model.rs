//! Random requests of several browsers, open at the same time and finished in any order, against a
//! model.
//!
//! The model is the promise in its plainest form: when a request finishes, its own changes are
//! applied, in their order, to the session as it then is, if the token that it was loaded by is
//! still good, and are dropped otherwise.

mod counting_store;

use std::collections::BTreeMap;
use std::sync::Arc;

use counting_store::token;
use proptest::collection::vec;
use proptest::prelude::*;
use session_manager::{Error, Session, SessionManager};
use store_core::{CleanupOptions, MemoryOptions, Store};

const BROWSERS: usize = 2;

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    /// A browser sends a request.
    Load(usize),
    /// One of the open requests does something.
    Do(prop::sample::Index, Op),
    /// One of the open requests is answered, and its browser keeps the cookie that comes with the
    /// answer.
    Finish(prop::sample::Index),
    /// One of the open requests panics.
    Drop(prop::sample::Index),
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u8, i64),
    Remove(u8),
    Add(u8, i64),
    Clear,
    Flash(i64),
    TakeFlash,
    Renew,
    Destroy,
}

/// Values in the order in which they were first inserted, and among them what a session notes of
/// itself: a value that is removed and inserted again is behind that, and so it isn't the same.
type Values = Vec<(String, i64)>;

/// A request as the model has it.
struct Request {
    browser: usize,
    /// The cookie that it came with, if that named a session, or one that was renewed a moment
    /// before.
    cookie: Option<String>,
    /// The token that it was loaded by, if that named a session.
    token: Option<String>,
    /// Whether the token was renewed before the request was loaded, so that it opens nothing.
    is_superseded: bool,
    /// Whether a session has ended by it.
    destroys: bool,
    renews: bool,
    /// What the session was, and what the request sees.
    loaded: Values,
    view: Values,
    changes: Vec<Op>,
}

fn steps() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    let op = prop_oneof![
        4 => (0..4_u8, -9..9_i64).prop_map(|(key, value)| Op::Insert(key, value)),
        2 => (0..4_u8).prop_map(Op::Remove),
        4 => (0..4_u8, 1..5_i64).prop_map(|(key, by)| Op::Add(key, by)),
        1 => Just(Op::Clear),
        1 => (0..9_i64).prop_map(Op::Flash),
        1 => Just(Op::TakeFlash),
        1 => Just(Op::Renew),
        1 => Just(Op::Destroy),
    ];
    prop_oneof![
        3 => (0..BROWSERS).prop_map(Step::Load),
        6 => (index(), op).prop_map(|(request, op)| Step::Do(request, op)),
        3 => index().prop_map(Step::Finish),
        1 => index().prop_map(Step::Drop),
    ]
}

fn key(key: u8) -> String {
    format!("key {key}")
}

fn set(values: &mut Values, key: &str, value: i64) {
    match values.iter_mut().find(|(own, _)| own == key) {
        Some((_, own)) => *own = value,
        None => values.push((key.to_owned(), value)),
    }
}

/// What a session notes when it begins, and when it gets another token.
const NOTES: [&str; 2] = ["__created", "__id"];

/// What an operation does to values, in the request or later to newer ones.
fn apply(values: &mut Values, op: &Op) {
    match op {
        Op::Insert(k, value) => set(values, &key(*k), *value),
        Op::Remove(k) => values.retain(|(own, _)| *own != key(*k)),
        Op::Add(k, by) => {
            let old = values.iter().find(|(own, _)| *own == key(*k)).map_or(0, |(_, old)| *old);
            set(values, &key(*k), old + by);
        }
        Op::Clear => values.retain(|(own, _)| NOTES.contains(&&**own)),
        Op::Flash(value) => set(values, "__flash.notice", *value),
        Op::TakeFlash => values.retain(|(own, _)| own != "__flash.notice"),
        Op::Renew | Op::Destroy => {}
    }
}

impl Request {
    fn step(&mut self, op: &Op) {
        let has = |name: &str| self.view.iter().any(|(own, _)| own == name);
        match op {
            Op::Renew => self.renews |= self.token.is_some() || self.is_superseded,
            Op::Destroy => {
                self.destroys |= self.token.take().is_some() || self.is_superseded;
                self.is_superseded = false;
                self.renews = false;
                self.loaded.clear();
                self.view.clear();
                self.changes.clear();
            }
            // What isn't there needn't be removed, not even later.
            Op::Remove(k) if !has(&key(*k)) => {}
            Op::TakeFlash if !has("__flash.notice") => {}
            op => {
                apply(&mut self.view, op);
                self.changes.push(op.clone());
            }
        }
    }
}

fn run(session: &mut Session<'_>, op: &Op) -> Result<(), session_manager::Error> {
    match *op {
        Op::Insert(k, value) => session.insert(&key(k), value),
        Op::Remove(k) => {
            session.remove(&key(k));
            Ok(())
        }
        Op::Add(k, by) => {
            session.update(&key(k), move |old: Option<i64>| old.unwrap_or(0) + by).map(drop)
        }
        Op::Clear => {
            session.clear();
            Ok(())
        }
        Op::Flash(value) => session.flash("notice", value),
        Op::TakeFlash => session.take_flash::<i64>("notice").map(drop),
        Op::Renew => session.renew(),
        Op::Destroy => session.destroy(),
    }
}

/// What the session shows, flash values aside.
fn shown(session: &Session<'_>) -> Values {
    let value = |key: &str| session.get(key).expect("a number").expect("it is listed");
    session.keys().map(|key| (key.to_owned(), value(key))).collect()
}

fn without_flash(values: &Values) -> Values {
    values.iter().filter(|(key, _)| !key.starts_with("__")).cloned().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn interleaved_requests_do_what_the_model_does(steps in vec(steps(), 1..60)) {
        let store: Arc<dyn Store> = Arc::new(
            MemoryOptions::new().with_cleanup(CleanupOptions::disabled()).build().expect("no thread"),
        );
        let sessions = SessionManager::new(Arc::clone(&store));
        // The model: the live sessions by token, and each browser's cookie.
        let mut live: BTreeMap<String, Values> = BTreeMap::new();
        let mut cookies = vec![String::new(); BROWSERS];
        let mut renewed: BTreeMap<String, String> = BTreeMap::new();
        // A logout holds also for the tokens that the session has got since.
        let newest = |renewed: &BTreeMap<String, String>, token: &str| {
            let mut last = token.to_owned();
            while let Some(next) = renewed.get(&last) {
                last.clone_from(next);
            }
            last
        };
        let mut open: Vec<(Request, Session<'_>)> = Vec::new();

        for step in steps {
            match step {
                Step::Load(browser) => {
                    let cookie = &cookies[browser];
                    let session = sessions.load([&**cookie]).expect("memory doesn't fail");
                    let values = live.get(cookie).cloned();
                    let token = values.is_some().then(|| cookie.clone());
                    prop_assert_eq!(session.token(), token.as_deref());
                    let view = values.unwrap_or_default();
                    prop_assert_eq!(shown(&session), without_flash(&view));
                    let is_superseded = token.is_none() && live.contains_key(&newest(&renewed, cookie));
                    let has_cookie = token.is_some() || is_superseded;
                    let request = Request {
                        browser, cookie: has_cookie.then(|| cookie.clone()),
                        token, is_superseded, destroys: false, renews: false,
                        loaded: view.clone(), view, changes: Vec::new(),
                    };
                    open.push((request, session));
                }
                Step::Do(index, op) if !open.is_empty() => {
                    let (request, session) = index.get_mut(&mut open);
                    request.step(&op);
                    if let (Op::Destroy, Some(cookie)) = (&op, &request.cookie) {
                        live.remove(&newest(&renewed, cookie));
                    }
                    run(session, &op).expect("memory doesn't fail");
                    prop_assert_eq!(shown(session), without_flash(&request.view));
                }
                Step::Finish(index) if !open.is_empty() => {
                    let (request, session) = open.swap_remove(index.index(open.len()));
                    let writes = request.renews || request.view != request.loaded;
                    let is_lost = match &request.token {
                        Some(token) => writes && !live.contains_key(token),
                        None => request.is_superseded && (request.renews || !request.changes.is_empty()),
                    };
                    let given = match session.finish() {
                        Ok(headers) => token(&headers),
                        Err(Error::Superseded) => {
                            // It hears of it, and nothing has changed.
                            prop_assert!(is_lost);
                            continue;
                        }
                        Err(error) => panic!("memory doesn't fail: {error}"),
                    };
                    prop_assert!(!is_lost);
                    let expected_cookie = match &request.token {
                        Some(token) => match live.remove(token) {
                            // It has ended, and there is nothing to write.
                            None => None,
                            Some(mut values) => {
                                // What comes to nothing is no reason to write, but is done to newer
                                // values by a write that has another reason.
                                if request.renews || request.view != request.loaded {
                                    for op in &request.changes {
                                        apply(&mut values, op);
                                    }
                                }
                                if request.renews {
                                    set(&mut values, NOTES[1], 0);
                                }
                                let new = if request.renews { given.clone().unwrap_or_default() } else { token.clone() };
                                live.insert(new.clone(), values);
                                if request.renews {
                                    renewed.insert(token.clone(), new.clone());
                                }
                                request.renews.then_some(new)
                            }
                        },
                        None if request.is_superseded => None,
                        None if request.view.is_empty() => request.destroys.then(String::new),
                        None => {
                            let new = given.clone().unwrap_or_default();
                            let mut values = request.view.clone();
                            set(&mut values, NOTES[0], 0);
                            live.insert(new.clone(), values);
                            Some(new)
                        }
                    };
                    prop_assert_eq!(&given, &expected_cookie);
                    if let Some(given) = given {
                        cookies[request.browser] = given;
                    }
                }
                Step::Drop(index) if !open.is_empty() => {
                    open.swap_remove(index.index(open.len()));
                }
                Step::Do(..) | Step::Finish(_) | Step::Drop(_) => {}
            }

            prop_assert_eq!(store.all().expect("memory doesn't fail").len(), live.len());
            for (token, values) in &live {
                let session = sessions.load([&**token]).expect("memory doesn't fail");
                prop_assert_eq!(shown(&session), without_flash(values));
            }
        }
    }
}
