//! Where the sessions are.

use clap::Args;

/// The database and the table, for all commands.
#[derive(Args, Debug)]
pub(crate) struct Place {
    #[arg(long, global = true, value_name = "URL", env = "SESSIONS_STORE", hide_env_values = true)]
    #[arg(help = "The database: sqlite:FILE, ql:FILE (redb), or mysql://USER@HOST/DATABASE")]
    pub(crate) store: Option<String>,

    /// The table of the sessions
    #[arg(long, global = true, value_name = "NAME", default_value = "sessions")]
    pub(crate) table: String,
}
