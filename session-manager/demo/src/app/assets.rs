//! What pages consist of besides HTML, in the program itself.

use rouille::{Request, Response};

const ASSETS: [(&str, &str, &str); 3] = [
    ("/style.css", "text/css; charset=utf-8", include_str!("style.css")),
    ("/script.js", "text/javascript; charset=utf-8", include_str!("script.js")),
    ("/icon.svg", "image/svg+xml", include_str!("icon.svg")),
];

/// Browsers ask for this one without being told to.
const UNASKED: &str = "/favicon.ico";

/// Answers a request for an asset. It is no visit, and looks at no session.
pub(crate) fn respond(request: &Request) -> Option<Response> {
    let url = request.url();
    if url == UNASKED {
        return Some(Response::empty_404());
    }
    let (_, content_type, content) = ASSETS.into_iter().find(|(path, _, _)| *path == url)?;
    let response = Response::from_data(content_type, content);
    // The next version of the demo may have another one.
    Some(response.with_unique_header("Cache-Control", "no-cache"))
}
