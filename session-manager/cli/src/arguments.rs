//! What the program is called with.

use clap::{Parser, Subcommand};

use crate::commands::backup::Backup;
use crate::commands::check::Check;
use crate::commands::compact::Compact;
use crate::commands::completions::Completions;
use crate::commands::copy::Copy;
use crate::commands::create_table::CreateTable;
#[cfg(feature = "ql")]
use crate::commands::import_ql::ImportQl;
use crate::commands::list::List;
use crate::commands::logout::Logout;
use crate::commands::man::ManPage;
use crate::commands::stats::Stats;
use crate::commands::sweep::Sweep;
use crate::place::Place;

/// What stands at the end of the help text.
const AFTER_HELP: &str = "\
Examples:
  sessions --store sqlite:app.db check
  sessions --store mysql://app@db.example/app stats --json
  sessions --store sqlite:app.db list --subject 7
  sessions --store sqlite:app.db logout --subject 7
  sessions copy sqlite:app.db mysql://app@db.example/app

Exit codes:
  0  done; `check`: nothing to complain of
  1  failed: the reason, and what to do next, are on standard error
  2  the arguments are wrong
  3  done, but look at standard error: `check` found something that an application works without,
     `logout` found no such session, `import-ql` or `copy` left sessions out
  4  `logout` wasn't confirmed, and nothing was ended

Environment:
  SESSIONS_STORE  the store, if --store doesn't name it
  MYSQL_PWD       the password for MySQL, if the URL has none

No token, no key and no value of a session is ever shown. There are no colours.";

/// Looks at the sessions of an application, ends them, and cleans up
#[derive(Debug, Parser)]
#[command(name = "sessions", version, after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) place: Place,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Check(Check),
    CreateTable(CreateTable),
    Stats(Stats),
    List(List),
    Logout(Logout),
    Sweep(Sweep),
    Copy(Copy),
    Backup(Backup),
    Compact(Compact),
    #[cfg(feature = "ql")]
    ImportQl(ImportQl),
    Completions(Completions),
    Man(ManPage),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn description_of_the_arguments_is_consistent() {
        Arguments::command().debug_assert();
    }
}
