//! What moves a session changes nothing of what others see of it, or do to it, meanwhile.

use store_core::{Error, Loaded, MovingStore, Store};

use crate::moving::{DATA, EARLIER, OTHER, PHASES, SUBJECT, TOKEN, in_an_hour, prepared};
use crate::process::{Event, Phase, run};

fn data_is_found(store: &MovingStore) -> Result<(), Error> {
    let data = store.find(TOKEN)?;
    assert_eq!(data.as_deref(), Some(DATA.as_bytes()));
    Ok(())
}

fn earlier_token_leads_to_it(store: &MovingStore) -> Result<(), Error> {
    let expected = Loaded::Rotated { token: TOKEN.to_owned(), opens: true };
    assert_eq!(store.load(EARLIER)?, expected);
    Ok(())
}

fn subject_is_known(store: &MovingStore) -> Result<(), Error> {
    assert_eq!(store.subject_of(TOKEN)?.as_deref(), Some(SUBJECT));
    Ok(())
}

fn each_session_of_the_subject_is_found_once(store: &MovingStore) -> Result<(), Error> {
    let mut tokens: Vec<_> =
        store.find_by_subject(SUBJECT)?.into_iter().map(|record| record.token).collect();
    tokens.sort();
    assert_eq!(tokens, [OTHER, TOKEN]);
    Ok(())
}

fn touch_finds_it(store: &MovingStore) -> Result<(), Error> {
    assert!(store.touch(TOKEN, in_an_hour())?);
    Ok(())
}

fn each_session_of_the_subject_is_ended_and_counted_once(store: &MovingStore) -> Result<(), Error> {
    assert_eq!(store.delete_by_subject(SUBJECT, None)?, 2);
    Ok(())
}

/// Before each call of each of these, another process moves the session as far as each of its own
/// calls.
#[test]
fn session_that_is_moved_meanwhile_is_the_same() {
    let mut cases = 0;
    for work in [
        data_is_found,
        earlier_token_leads_to_it,
        subject_is_known,
        each_session_of_the_subject_is_found_once,
        touch_finds_it,
        each_session_of_the_subject_is_ended_and_counted_once,
    ] {
        for phase in PHASES {
            for moved_until in 0..20 {
                for call in 0.. {
                    let databases = prepared();
                    let others = {
                        let databases = databases.clone();
                        move || {
                            let work = |store: &MovingStore| store.touch(TOKEN, in_an_hour());
                            // Whether it is killed, and how far it came, doesn't matter.
                            drop(run(&databases, Phase::Moving, moved_until, Event::Kill, work));
                        }
                    };
                    let event = Event::Pause(Box::new(others));
                    let (outcome, has_happened) = run(&databases, phase, call, event, work);
                    outcome.expect("nothing fails");
                    if !has_happened {
                        break;
                    }
                    cases += 1;
                }
            }
        }
    }
    assert!(cases > 500, "{cases}");
}
