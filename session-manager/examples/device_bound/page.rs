//! The pages.

use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Loads the page again, once: a browser that came by a link of another site gets its new device
/// cookie only for requests of this one.
const TRY_AGAIN: &str = "
    if (!document.referrer.startsWith(location.origin)) location.replace(location.href);
";

pub(crate) fn logged_out() -> String {
    page("logged out", &log_in())
}

pub(crate) fn unbound(user: &str) -> String {
    let text = "This session is not bound to a device: your browser doesn't do that, or not yet.";
    logged_in("not bound", user, text)
}

pub(crate) fn bound(user: &str, proved: DateTime<Utc>) -> String {
    let text = format!("This session is bound to this device, which proved it at {proved}.");
    logged_in("bound", user, &text)
}

pub(crate) fn unproven() -> String {
    let content = html! {
        p { "Your session is bound to a device, and this one has not shown that it is the same." }
        (log_in())
        script { (PreEscaped(TRY_AGAIN)) }
    };
    page("unproven", &content)
}

fn logged_in(state: &str, user: &str, text: &str) -> String {
    let content = html! {
        p { "Hello, " span #user { (user) } "." }
        p { (text) }
        form #logout action="/logout" method="post" { button { "Log out" } }
    };
    page(state, &content)
}

fn log_in() -> Markup {
    html! { form #login action="/login" method="post" { button { "Log in" } } }
}

fn page(state: &str, content: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head { title { "Device bound: " (state) } }
            body { h1 #state { (state) } (content) }
        }
    };
    page.into_string()
}
