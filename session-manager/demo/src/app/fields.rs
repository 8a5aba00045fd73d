//! The fields of the forms.

/// That of the login, and that of the note, which is its key in the session as well.
pub(crate) const USER: &str = "user";
pub(crate) const NOTE: &str = "note";

/// In characters; the forms have the same limits.
pub(crate) const MAX_USER: usize = 40;
pub(crate) const MAX_NOTE: usize = 200;

/// The field of the forms that end sessions. All forms are checked by where they come from; these
/// are also told from forged ones by browsers that don't say it.
pub(crate) const FORM_TOKEN: &str = "csrf_token";

/// What is wrong with a field. The page shows it next to the field, which keeps its text.
pub(crate) struct Problem {
    pub(crate) field: &'static str,
    pub(crate) value: String,
    pub(crate) message: String,
}
