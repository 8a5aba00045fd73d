//! Forms that were posted.

use rouille::{Request, Response};

use crate::app::fields::Problem;
use crate::app::page::refusal;

/// Room for the longest note with every byte percent-encoded.
const MAX_FORM_BYTES: usize = 4 * 1024;

/// The fields of a form that was posted.
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// Returns the form, or the response to something else.
    pub(crate) fn of(request: &Request) -> Result<Self, Response> {
        // The body's length has to be known beforehand, because it is read into memory as a whole.
        let length = request.header("Content-Length").and_then(|length| length.parse().ok());
        let length: Option<usize> =
            length.filter(|_| request.header("Transfer-Encoding").is_none());
        match length {
            None => return Err(refusal(411, "The form has no length.")),
            Some(length) if length > MAX_FORM_BYTES => {
                return Err(refusal(413, "That is too long."));
            }
            Some(_) => {}
        }
        let fields = rouille::input::post::raw_urlencoded_post_input(request);
        fields.map(Self).map_err(|_| refusal(400, "That isn't a form."))
    }

    /// Returns the text of a field, or why it is refused.
    pub(crate) fn text(&self, field: &'static str, max: usize) -> Result<&str, Problem> {
        let value = self.get(field);
        let text = value.trim();
        let message = if !self.has(field) {
            "This field is missing in the form.".to_owned()
        } else if text.chars().count() > max {
            format!("At most {max} characters, please.")
        } else if text.chars().any(char::is_control) {
            "Letters, digits and the like, please.".to_owned()
        } else {
            return Ok(text);
        };
        Err(Problem { field, value: value.to_owned(), message })
    }

    /// Returns the text of a field, which is empty if there is none.
    pub(crate) fn get(&self, field: &str) -> &str {
        self.0.iter().find(|(name, _)| name == field).map_or("", |(_, text)| text)
    }

    pub(crate) fn has(&self, field: &str) -> bool {
        self.0.iter().any(|(name, _)| name == field)
    }
}
