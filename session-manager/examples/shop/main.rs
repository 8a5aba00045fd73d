//! A shop: a basket that its visitor takes along into a login, orders, and a language. With
//! `tiny_http`, for which there is no adapter: the calls that serve any framework, here on several
//! threads.
//!
//! ```text
//! cargo run --package sync-session-manager --example shop -- 127.0.0.1:4000
//! ```

mod serving;

mod page;

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::{env, thread};

use chrono::{TimeDelta, Utc};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use session_manager::store_core::MemoryStore;
use session_manager::{BoxError, CookiePolicy, RequestHead, Session, SessionManager};
use tiny_http::Server;

use crate::page::{Items, Message, Page};
use crate::serving::{Form, Response, text, with_headers};

const WORKERS: usize = 4;

/// A basket outlives the browser, and a login ends with the day.
const BASKETS_LAST: TimeDelta = TimeDelta::days(14);
const LOGINS_LAST: TimeDelta = TimeDelta::hours(12);

const GOODS: [&str; 3] = ["tea", "cup", "spoon"];

/// In an application, its table of users, which has hashes of the passwords.
const USERS: [(&str, &str); 2] = [("ada", "engine"), ("grace", "compiler")];

/// In an application, its table of orders by their numbers, with the user of each.
type Orders = Mutex<BTreeMap<u64, (String, Items)>>;

/// A value of the session.
#[derive(Serialize, Deserialize)]
struct Basket {
    /// That of the order that it is going to be.
    number: u64,
    items: Items,
}

fn main() -> Result<(), BoxError> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:4000".to_owned());

    // This example speaks plain HTTP. Behind HTTPS, remove the last call of the second line.
    let sessions = SessionManager::new(MemoryStore::new()?)
        .with_cookie(CookiePolicy::new().persistent().insecure_for_local_development())?
        .with_lifetime(BASKETS_LAST.to_std()?)?
        .with_kept_values(["is_french"]);
    let orders = Orders::default();

    let server = Server::http(&*address)?;
    writeln!(io::stdout(), "Open http://{}/ in a browser.", server.server_addr())?;
    let work = || {
        for request in server.incoming_requests() {
            serving::serve(&sessions, request, |head, form, session| {
                route(&orders, head, form, session)
            });
        }
    };
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(work);
        }
    });
    Ok(())
}

fn route(
    orders: &Orders,
    head: &RequestHead<'_>,
    form: &Form,
    session: &mut Session<'_>,
) -> Result<Response, BoxError> {
    let allowed = match head.path() {
        "/" => "GET, HEAD",
        "/basket" | "/checkout" | "/language" | "/login" | "/logout" => "POST",
        _ => return Ok(text(404, "There is no such page.")),
    };
    if !allowed.split(", ").any(|method| method == head.method()) {
        let allow = [("Allow", allowed.to_owned())];
        return Ok(with_headers(text(405, "This page has another method."), allow));
    }
    if head.path() == "/" {
        return show(orders, session);
    }
    let field = |name| form.get(name).map_or("", String::as_str);
    session.check_form_token(field("csrf_token"))?;
    match head.path() {
        "/basket" => add(field("value"), session)?,
        "/checkout" => check_out(orders, session)?,
        "/language" => session.insert("is_french", field("value") == "fr")?,
        "/login" => log_in(field("user"), field("password"), session)?,
        _ => log_out(session)?,
    }
    Ok(with_headers(text(303, ""), [("Location", "/".to_owned())]))
}

fn show(orders: &Orders, session: &mut Session<'_>) -> Result<Response, BoxError> {
    let user = session.subject();
    let basket: Option<Basket> = session.get("basket")?;
    let page = Page {
        is_french: session.get_or_default("is_french")?,
        message: session.take_flash("message")?,
        goods: &GOODS,
        basket: basket.map(|basket| basket.items).unwrap_or_default(),
        orders: user.as_deref().map(|user| orders_of(orders, user)).unwrap_or_default(),
        user,
        token: session.form_token()?,
    };
    // Nothing shows it again after the logout, such as the browser's “Back”.
    let headers = [("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "no-store")];
    let headers = headers.map(|(name, value)| (name, value.to_owned()));
    Ok(with_headers(text(200, &page.to_html().into_string()), headers))
}

fn orders_of(orders: &Orders, user: &str) -> Vec<Items> {
    let orders = orders.lock();
    let own = orders.values().filter(|(whose, _)| whose == user);
    own.map(|(_, items)| items.clone()).collect()
}

fn add(item: &str, session: &mut Session<'_>) -> Result<(), BoxError> {
    if GOODS.contains(&item) {
        let (item, number) = (item.to_owned(), getrandom::u64()?);
        // Two requests that do it at the same time both count.
        session.update("basket", move |basket: Option<Basket>| {
            let empty = || Basket { number, items: Items::new() };
            let mut basket = basket.unwrap_or_else(empty);
            *basket.items.entry(item.clone()).or_default() += 1;
            basket
        })?;
    }
    Ok(())
}

fn check_out(orders: &Orders, session: &mut Session<'_>) -> Result<(), BoxError> {
    let Some(user) = session.subject() else {
        return say(session, "Please log in to order.", "Connectez-vous pour commander.");
    };
    let Some(Basket { number, items }) = session.get("basket")? else {
        return say(session, "The basket is empty.", "Le panier est vide.");
    };
    // The order is there before the session is written, so a second click, or one after an error,
    // finds it, and makes no second one.
    let ordered = orders.lock().entry(number).or_insert((user, items)).1.clone();
    let next = getrandom::u64()?;
    session.update("basket", move |basket: Option<Basket>| {
        let mut basket = basket?;
        if basket.number == number {
            // What another request has put in concurrently is for the next order.
            basket.number = next;
            basket.items.retain(|item, count| {
                *count = count.saturating_sub(*ordered.get(item).unwrap_or(&0));
                *count > 0
            });
        }
        (!basket.items.is_empty()).then_some(basket)
    })?;
    say(session, "Thank you for your order.", "Merci de votre commande.")
}

fn log_in(user: &str, password: &str, session: &mut Session<'_>) -> Result<(), BoxError> {
    if !USERS.contains(&(user, password)) {
        return say(session, "Wrong name or password.", "Nom ou mot de passe incorrect.");
    }
    // The session gets another token. It keeps the basket, unless that is another user's.
    session.set_subject(user)?;
    session.mark_authenticated()?;
    session.set_deadline(Utc::now() + LOGINS_LAST);
    Ok(())
}

fn log_out(session: &mut Session<'_>) -> Result<(), BoxError> {
    let is_french: bool = session.get_or_default("is_french")?;
    session.destroy()?;
    // These go into a fresh session.
    session.insert("is_french", is_french)?;
    say(session, "Logged out.", "Déconnecté.")
}

/// Says something once, on the next page.
fn say(session: &mut Session<'_>, english: &str, french: &str) -> Result<(), BoxError> {
    let message: Message = (english.to_owned(), french.to_owned());
    Ok(session.flash("message", message)?)
}
