//! The child: it works on a database until it is killed, and tells its parent what was
//! acknowledged.

use std::fmt::Display;
use std::io::{self, Read as _, Write as _};
use std::ops::Range;
use std::process;
use std::thread;

use store_core::{Error, Store};

use crate::Result;
use crate::stores::{self, Compact};
use crate::workload::{Workload, create_counter, long_ago};

/// What a child is to do.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    pub(crate) store: String,
    pub(crate) location: String,
    pub(crate) seed: u64,
    pub(crate) database: u64,
    /// The threads that it has, of all that work on the database; none if it only opens it.
    pub(crate) threads: Range<usize>,
    /// How many operations of each thread are done.
    pub(crate) applied: Vec<u64>,
    /// Whether a thread compacts and cleans up all the time.
    pub(crate) maintains: bool,
    /// Whether the server may be killed: then errors end a thread, and are no fault.
    pub(crate) may_fail: bool,
}

impl Orders {
    pub(crate) fn to_args(&self) -> Vec<String> {
        let mut args = vec![
            "child".to_owned(),
            self.store.clone(),
            self.location.clone(),
            self.seed.to_string(),
            self.database.to_string(),
            self.maintains.to_string(),
            self.may_fail.to_string(),
            self.threads.start.to_string(),
        ];
        args.extend(self.applied.iter().map(u64::to_string));
        args
    }

    pub(crate) fn from_args(args: &[String]) -> Result<Self> {
        let [store, location, seed, database, maintains, may_fail, first, applied @ ..] = args
        else {
            return Err("a child is started by its parent".into());
        };
        let first = first.parse()?;
        Ok(Self {
            store: store.clone(),
            location: location.clone(),
            seed: seed.parse()?,
            database: database.parse()?,
            threads: first..first + applied.len(),
            applied: applied.iter().map(|number| number.parse()).collect::<Result<_, _>>()?,
            maintains: maintains.parse()?,
            may_fail: may_fail.parse()?,
        })
    }
}

/// Works until it is killed, or until its parent is gone.
pub(crate) fn run(orders: &Orders) -> Result {
    tell("opening")?;
    let opened = stores::open(&orders.store, &orders.location)?;
    tell("opened")?;
    if orders.threads.is_empty() {
        // The parent closes it with its end.
        io::stdin().read_to_end(&mut Vec::new())?;
        return Ok(());
    }
    let store = &*opened.store;
    if let Err(error) = create_counter(store)
        && !orders.may_fail
    {
        return Err(error.into());
    }
    thread::scope(|scope| {
        for (thread, &applied) in orders.threads.clone().zip(&orders.applied) {
            scope.spawn(move || {
                or_give_up(orders, work(orders, store, thread, applied), &thread.to_string());
            });
        }
        if orders.maintains {
            let compact = opened.compact.as_ref();
            scope.spawn(move || {
                or_give_up(orders, maintain(store, compact, orders.threads.start), "maintenance");
            });
        }
    });
    Ok(())
}

/// Ends the thread if errors are expected, else the process.
fn or_give_up(orders: &Orders, result: Result<(), Fault>, thread: &str) {
    let told = match result {
        Ok(()) => Ok(()),
        Err(Fault::Store(_)) if orders.may_fail => tell(&format!("lost {thread}")),
        Err(Fault::Store(error)) => fail(&error),
        Err(Fault::Wrong(what)) => fail(&what),
    };
    if told.is_err() {
        // The parent is gone.
        process::exit(0);
    }
}

/// What ends a thread.
enum Fault {
    Store(Error),
    Wrong(String),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for Fault {
    fn from(_the_parent_is_gone: io::Error) -> Self {
        process::exit(0)
    }
}

fn work(orders: &Orders, store: &dyn Store, thread: usize, applied: u64) -> Result<(), Fault> {
    let mut workload = Workload::new(orders.seed, orders.database, thread)?;
    workload.advance_to(applied)?;
    loop {
        let op = workload.next().clone();
        let number = workload.applied();
        let outcome = op.run(store)?;
        tell(&format!("ack {thread} {number}"))?;
        let expected = workload.advance()?;
        if outcome != expected {
            let what = format!("operation {number} of thread {thread}, {op:?}");
            let what = format!("{what}: returned {outcome:?}, expected {expected:?}");
            return Err(Fault::Wrong(what));
        }
    }
}

/// Makes sessions that have expired, and removes them and what is left of them.
fn maintain(store: &dyn Store, compact: Option<&Compact>, name: usize) -> Result<(), Fault> {
    for run in 0_u64.. {
        for n in 0..60 {
            let (token, subject) = (format!("expired-{name}-{n}"), format!("s{name}-0"));
            match store.create(&token, &[b'x'; 500], long_ago(), Some(&subject)) {
                Ok(()) => {}
                Err(Error::TokenTaken) => return Err(Fault::Wrong(format!("{token} is live"))),
                Err(error) => return Err(error.into()),
            }
        }
        tell("cleaning")?;
        store.delete_expired()?;
        tell("cleaned")?;
        if let Some(compact) = compact
            && run.is_multiple_of(2)
        {
            tell("compacting")?;
            match compact() {
                // A walk was under way.
                Ok(_) | Err(Error::Contended { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            tell("compacted")?;
        }
    }
    Ok(())
}

/// Tells the parent something, in one write, which a kill doesn't tear.
pub(crate) fn tell(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes())?;
    out.flush()
}

/// Tells the parent that something is wrong, and ends the process.
fn fail(what: &impl Display) -> ! {
    // If the parent is gone, nobody wants to know.
    let _ = tell(&format!("failed {what}").replace('\n', " "));
    process::exit(1)
}
