//! The endpoint of each adapter.

use std::io::Read as _;

use http::Request;
use session_manager::RequestHead;

use crate::TestResult;
use crate::browser::Browser;
use crate::fixture::{Fixture, PATH};

#[test]
fn adapters_answer_as_the_plain_call_does() -> TestResult {
    let fixture = Fixture::new();
    let mut browser = Browser::bound(&fixture.sessions)?;
    browser.refreshed();
    let proof = browser.proof(&browser.challenge.clone().expect("it has one"));
    let headers = |proof: Option<&str>| {
        let mut headers = vec![
            ("Cookie".to_owned(), browser.cookies()),
            ("Sec-Secure-Session-Id".to_owned(), browser.id.clone()),
        ];
        // As the specification has it, with quotes.
        headers.extend(
            proof.map(|proof| ("Secure-Session-Response".to_owned(), format!("\"{proof}\""))),
        );
        headers
    };
    let rouille = |proof: Option<&str>| {
        let request = rouille::Request::fake_http("POST", PATH, headers(proof), vec![]);
        let response = fixture.sessions.rouille_device_endpoint(&request);
        let mut body = String::new();
        response.data.into_reader_and_size().0.read_to_string(&mut body).expect("it is text");
        let names = response.headers.iter().map(|(name, _)| name.to_lowercase());
        (response.status_code, names.collect::<Vec<_>>(), body)
    };
    let http = |proof: Option<&str>| {
        let mut request = Request::post(PATH);
        for (name, value) in headers(proof) {
            request = request.header(name, value);
        }
        let request = request.body(()).expect("it is one");
        let response: http::Response<String> = fixture.sessions.http_device_endpoint(&request);
        let names = response.headers().keys().map(ToString::to_string);
        (response.status().as_u16(), names.collect::<Vec<_>>(), response.body().clone())
    };
    let asked = ["cache-control", "secure-session-challenge"];
    assert_eq!(rouille(None), (403, asked.map(str::to_owned).to_vec(), String::new()));
    assert_eq!(http(None), (403, asked.map(str::to_owned).to_vec(), String::new()));

    let (status, names, body) = rouille(Some(&proof));
    assert_eq!(status, 200);
    assert!(names.contains(&"set-cookie".to_owned()) && body.contains(&browser.id), "{body}");
    let (status, ..) = http(Some(&proof));
    assert_eq!(status, 403, "it was used");
    Ok(())
}

#[test]
fn debug_output_shows_no_cookie_and_no_challenge() -> TestResult {
    let fixture = Fixture::new();
    let mut browser = Browser::bound(&fixture.sessions)?;
    let mut outputs = Vec::new();
    for _ in 0..2 {
        let response = browser.refresh();
        outputs.push(format!("{response:?} {response:#?}"));
        let session = browser.session()?;
        outputs.push(format!("{session:?} {:?} {:?}", session.device_binding(), session.key()));
    }
    outputs.push(format!("{:?}", fixture.sessions));
    let challenge = browser.challenge.clone().expect("it has one");
    for secret in [&browser.session_cookie, &browser.device_cookie, &challenge] {
        assert!(outputs.iter().all(|output| !output.contains(secret.as_str())), "{outputs:?}");
    }
    Ok(())
}

#[test]
fn other_methods_are_not_allowed() {
    let fixture = Fixture::new();
    for method in ["GET", "HEAD", "PUT", "post"] {
        let request = RequestHead::new(method, PATH, |_| None);
        let response = fixture.sessions.device_endpoint(&request, []);
        assert_eq!(response.status, 405, "{method}");
        assert!(response.headers.contains(&("Allow", "POST".to_owned())));
    }
}
