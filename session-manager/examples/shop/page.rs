//! The page, in two languages.

use std::collections::BTreeMap;

use maud::{DOCTYPE, Markup, html};

/// How many of each of the goods.
pub(crate) type Items = BTreeMap<String, u32>;

/// In English and in French.
pub(crate) type Message = (String, String);

/// What the page shows.
pub(crate) struct Page<'s> {
    pub(crate) is_french: bool,
    pub(crate) message: Option<Message>,
    pub(crate) goods: &'s [&'s str],
    pub(crate) basket: Items,
    pub(crate) user: Option<String>,
    pub(crate) orders: Vec<Items>,
    /// Every form has it.
    pub(crate) token: String,
}

impl Page<'_> {
    pub(crate) fn to_html(&self) -> Markup {
        html! {
            (DOCTYPE)
            html lang=(self.t("en", "fr")) {
                title { (self.t("Shop", "Magasin")) }
                @if let Some((english, french)) = &self.message {
                    p role="status" { (self.t(english, french)) }
                }
                (self.button("/language", self.t("fr", "en"), self.t("Français", "English")))
                @for item in self.goods { (self.button("/basket", item, item)) }
                h2 { (self.t("Basket", "Panier")) }
                (list(&self.basket))
                (self.button("/checkout", "", self.t("Order", "Commander")))
                (self.account())
            }
        }
    }

    fn account(&self) -> Markup {
        html! {
            @if let Some(user) = &self.user {
                h2 { (self.t("Orders of ", "Commandes de ")) (user) }
                @for items in &self.orders { (list(items)) }
                (self.button("/logout", "", self.t("Log out", "Se déconnecter")))
            } @else {
                form method="post" action="/login" {
                    (self.token_field())
                    input name="user" autocomplete="username" required;
                    input name="password" type="password" autocomplete="current-password" required;
                    button { (self.t("Log in", "Se connecter")) }
                }
            }
        }
    }

    fn t<'t>(&self, english: &'t str, french: &'t str) -> &'t str {
        if self.is_french { french } else { english }
    }

    /// A form that is a button alone.
    fn button(&self, action: &str, value: &str, text: &str) -> Markup {
        html! {
            form method="post" action=(action) {
                (self.token_field())
                button name="value" value=(value) { (text) }
            }
        }
    }

    fn token_field(&self) -> Markup {
        html! { input type="hidden" name="csrf_token" value=(self.token); }
    }
}

fn list(items: &Items) -> Markup {
    html! { ul { @for (item, count) in items { li { (count) " × " (item) } } } }
}
