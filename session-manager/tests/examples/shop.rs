//! With `tiny_http`.

use std::sync::Barrier;
use std::thread;

use super::{Browser, Example, Reply, TestResult, agent};

const ROUNDS: u32 = 20;

/// A browser and the page that it shows.
#[derive(Clone)]
struct Visitor<'e> {
    browser: Browser<'e>,
    page: String,
}

impl<'e> Visitor<'e> {
    fn new(example: &'e Example, name: &'static str) -> TestResult<Self> {
        let mut visitor = Self { browser: Browser::new(example, name), page: String::new() };
        visitor.look()?;
        Ok(visitor)
    }

    fn look(&mut self) -> TestResult {
        let reply = self.browser.get("")?;
        assert_eq!((reply.status, reply.header("Cache-Control")), (200, "no-store"));
        self.page = reply.body;
        Ok(())
    }

    /// Sends a form with the token of the page, and looks nowhere.
    fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> TestResult<Reply> {
        let token = self.page.split_once("name=\"csrf_token\" value=\"").map(|(_, rest)| rest);
        let token = token.and_then(|rest| rest.split('"').next()).expect("each page has one");
        let form: Vec<_> = fields.iter().copied().chain([("csrf_token", token)]).collect();
        self.browser.post_form(path, &form)
    }

    /// Sends a form that is accepted, and looks at the page after it.
    fn send(&mut self, path: &str, fields: &[(&str, &str)]) -> TestResult {
        let reply = self.post(path, fields)?;
        assert_eq!((reply.status, reply.header("Location")), (303, "/"), "{path}");
        self.look()
    }

    fn sees(&self, text: &str) -> bool {
        self.page.contains(text)
    }

    /// How often the item is in the basket, and in orders.
    fn counts(&self, item: &str) -> (u32, u32) {
        let (_, rest) = self.page.split_once("<h2>").expect("the basket's");
        let (basket, orders) = rest.split_once("<h2>").unwrap_or((rest, ""));
        let entries = |part: &str| {
            let entries = part.split("<li>").filter_map(|entry| entry.split_once(" × "));
            let own = entries.filter(|(_, rest)| rest.split('<').next() == Some(item));
            own.filter_map(|(count, _)| count.parse::<u32>().ok()).sum()
        };
        (entries(basket), entries(orders))
    }
}

/// Clicks at the same time, each in a tab of its own.
fn click_at_once(tabs: &mut [Visitor<'_>], clicks: &[(&'static str, &'static str)]) -> TestResult {
    assert_eq!(tabs.len(), clicks.len());
    let all_are_ready = &Barrier::new(tabs.len());
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for (tab, (path, value)) in tabs.iter_mut().zip(clicks) {
            threads.push(scope.spawn(|| {
                all_are_ready.wait();
                tab.post(path, &[("value", value)])
            }));
        }
        for thread in threads {
            let reply = thread.join().expect("it doesn't panic")?;
            assert_eq!(reply.status, 303, "{reply:?}");
        }
        Ok(())
    })
}

const ADA: [(&str, &str); 2] = [("user", "ada"), ("password", "engine")];
const GRACE: [(&str, &str); 2] = [("user", "grace"), ("password", "compiler")];

#[test]
fn shop_keeps_basket_and_language_from_the_first_visit_to_the_order() -> TestResult {
    let example = Example::start("shop", &[])?;
    let mut visitor = Visitor::new(&example, "laptop")?;
    assert_eq!(visitor.browser.max_age_rounded(), Some(14 * 24 * 60 * 60));
    assert!(visitor.sees("<h2>Basket</h2>"), "{}", visitor.page);

    visitor.send("language", &[("value", "fr")])?;
    visitor.send("basket", &[("value", "tea")])?;
    visitor.send("basket", &[("value", "tea")])?;
    visitor.send("basket", &[("value", "gold")])?;
    assert!(visitor.sees("<h2>Panier</h2>") && !visitor.sees("gold"), "{}", visitor.page);
    assert_eq!(visitor.counts("tea"), (2, 0));

    visitor.send("checkout", &[])?;
    assert!(visitor.sees("Connectez-vous pour commander."), "{}", visitor.page);
    visitor.look()?;
    assert!(!visitor.sees("Connectez-vous pour commander."), "it is said once");
    visitor.send("login", &[("user", "ada"), ("password", "compiler")])?;
    assert!(visitor.sees("Nom ou mot de passe incorrect."), "{}", visitor.page);
    assert!(!visitor.sees("Commandes de"), "{}", visitor.page);

    // Whoever has planted the cookie isn't logged in with it, and sees nothing of the basket.
    let mut planted = visitor.clone();
    visitor.send("login", &ADA)?;
    assert!(visitor.sees("Commandes de ada"), "{}", visitor.page);
    assert_eq!(visitor.counts("tea"), (2, 0));
    assert_eq!(visitor.browser.max_age_rounded(), Some(12 * 60 * 60));
    let reply = planted.browser.get("")?;
    assert_eq!((reply.status, reply.body.contains("tea")), (409, false), "{reply:?}");

    visitor.send("checkout", &[])?;
    assert!(visitor.sees("Merci de votre commande."), "{}", visitor.page);
    assert_eq!(visitor.counts("tea"), (0, 2));
    visitor.send("checkout", &[])?;
    assert!(visitor.sees("Le panier est vide."), "{}", visitor.page);
    Ok(())
}

#[test]
fn shop_has_nothing_of_a_user_after_the_logout_or_for_another_one() -> TestResult {
    let example = Example::start("shop", &[])?;
    let mut visitor = Visitor::new(&example, "laptop")?;
    visitor.send("language", &[("value", "fr")])?;
    visitor.send("login", &ADA)?;
    visitor.send("basket", &[("value", "tea")])?;
    visitor.send("checkout", &[])?;
    visitor.send("basket", &[("value", "tea")])?;
    assert_eq!(visitor.counts("tea"), (1, 1));

    let mut before = visitor.clone();
    visitor.send("login", &GRACE)?;
    assert!(visitor.sees("Commandes de grace"), "in French: {}", visitor.page);
    assert_eq!(visitor.counts("tea"), (0, 0), "these were another user's");
    let reply = before.browser.get("")?;
    assert_eq!((reply.status, reply.body.contains("ada")), (409, false), "{reply:?}");

    visitor.send("basket", &[("value", "cup")])?;
    let mut before = visitor.clone();
    visitor.send("logout", &[])?;
    assert!(visitor.sees("Déconnecté.") && !visitor.sees("Commandes de"), "{}", visitor.page);
    assert_eq!(visitor.counts("cup"), (0, 0));
    assert_eq!(before.post("basket", &[("value", "cup")])?.status, 403, "an old page's form");
    before.look()?;
    assert!(!before.sees("Commandes de"), "{}", before.page);
    assert_eq!(before.counts("cup"), (0, 0));
    Ok(())
}

#[test]
fn shop_counts_every_click_once_however_many_come_at_the_same_time() -> TestResult {
    let example = Example::start("shop", &[])?;
    let mut visitor = Visitor::new(&example, "laptop")?;
    visitor.send("login", &ADA)?;
    let mut tabs = vec![visitor.clone(); 8];
    for tab in &mut tabs {
        // One after the other: a connection that comes together with others may be left waiting
        // for one of them to close.
        tab.browser.agent = agent();
        tab.look()?;
    }
    click_at_once(&mut tabs, &[("basket", "tea"); 8])?;
    visitor.look()?;
    assert_eq!(visitor.counts("tea"), (8, 0));

    let mut clicks = [("checkout", ""); 8];
    clicks[4..].fill(("basket", "cup"));
    for round in 1..=ROUNDS {
        click_at_once(&mut tabs, &clicks)?;
        visitor.look()?;
        assert_eq!(visitor.counts("tea"), (0, 8), "round {round}");
        let (waiting, ordered) = visitor.counts("cup");
        assert_eq!(waiting + ordered, 4 * round, "round {round}: {waiting} in the basket");
    }
    Ok(())
}

#[test]
fn shop_refuses_forged_forms_and_other_methods() -> TestResult {
    let example = Example::start("shop", &[])?;
    let mut visitor = Visitor::new(&example, "laptop")?;
    for fields in [&[("value", "tea")][..], &[("value", "tea"), ("csrf_token", "guessed")]] {
        assert_eq!(visitor.browser.post_form("basket", fields)?.status, 403);
    }
    let mut stranger = Visitor::new(&example, "stranger")?;
    stranger.browser.cookie.clone_from(&visitor.browser.cookie);
    assert_eq!(stranger.post("basket", &[("value", "tea")])?.status, 403, "its own token");
    let site = [("Sec-Fetch-Site", "cross-site")];
    let forged = visitor.browser.send("POST", "basket", &site, ())?;
    assert_eq!((forged.status, &*forged.body), (403, "This request came from another site.\n"));
    visitor.look()?;
    assert_eq!(visitor.counts("tea"), (0, 0));

    // It says what the page would, and leaves the message to the page.
    visitor.post("checkout", &[])?;
    let reply = visitor.browser.send("HEAD", "", &[], ())?;
    assert_eq!((reply.status, &*reply.body, reply.header("Set-Cookie")), (200, "", ""));
    visitor.look()?;
    assert!(visitor.sees("Please log in to order."), "{}", visitor.page);

    example.expect_heads_without_bodies(&["", "nowhere", "logout"])?;
    for (method, path, status, allow) in [
        ("GET", "nowhere", 404, ""),
        ("HEAD", "nowhere", 404, ""),
        ("GET", "logout", 405, "POST"),
        ("HEAD", "logout", 405, "POST"),
        ("DELETE", "basket", 405, "POST"),
        ("POST", "", 405, "GET, HEAD"),
    ] {
        let reply = visitor.browser.send(method, path, &[], ())?;
        assert_eq!((reply.status, reply.header("Allow")), (status, allow), "{method} /{path}");
    }
    Ok(())
}
