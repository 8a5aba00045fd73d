//! The application's values, typed through serde.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::Codec;
use crate::content::edit::Edit;
use crate::content::reserved::{FLASH, is_reserved};
use crate::error::Error;
use crate::session::Session;

impl<C: Codec> Session<'_, C> {
    /// Returns the value under a key.
    ///
    /// # Errors
    /// [`Error::WrongType`] if there is one of another type.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// session.insert("user_id", 7)?;
    /// assert_eq!(session.get("user_id")?, Some(7));
    /// assert_eq!(session.get::<String>("theme")?, None);
    /// assert!(session.get::<String>("user_id").is_err());
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "Get")]
    #[doc(alias = "GetString")]
    #[doc(alias = "GetInt")]
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        match self.content().values.get(key, self.data()) {
            None => Ok(None),
            Some(value) => {
                let value = self.manager.codec.decode_value(value);
                value.map(Some).map_err(|_| Error::wrong_type::<T>(key))
            }
        }
    }

    /// Puts a value under a key, and replaces the one that is there.
    ///
    /// # Errors
    /// [`Error::Unencodable`] if the codec can't represent it; [`Error::ReservedKey`] for keys that
    /// begin with `__flash.`, and those that the session keeps for itself.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// session.insert("cart", vec!["tea", "milk"])?;
    /// assert_eq!(session.get::<Vec<String>>("cart")?.map(|cart| cart.len()), Some(2));
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "Put")]
    pub fn insert<T: Serialize>(&mut self, key: &str, value: T) -> Result<(), Error> {
        check_key(key)?;
        self.set(key, &value)
    }

    /// Replaces the value under a key by what `update` makes of it, and returns the new value.
    ///
    /// If another request has changed the session in the meantime, `update` is called again with
    /// the newest value when this one finishes: a counter counts any number of concurrent requests.
    /// So the closure must depend on its argument alone.
    ///
    /// # Errors
    /// [`Error::WrongType`] if the value there is of another type; [`Error::Unencodable`];
    /// [`Error::ReservedKey`].
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// let visits = session.update("visits", |visits: Option<u32>| visits.unwrap_or(0) + 1)?;
    /// assert_eq!(visits, 1);
    ///
    /// session.update("cart", |cart: Option<Vec<String>>| {
    ///     let mut cart = cart.unwrap_or_default();
    ///     cart.push("tea".to_owned());
    ///     cart
    /// })?;
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    pub fn update<T, F>(&mut self, key: &str, mut update: F) -> Result<T, Error>
    where
        T: Serialize + DeserializeOwned,
        F: FnMut(Option<T>) -> T + Send + 'static,
    {
        check_key(key)?;
        let own_key = key.to_owned();
        let encoded_update = move |codec: &C, old: Option<&[u8]>| {
            let old = old.map(|old| codec.decode_value(old)).transpose();
            let old = old.map_err(|_| Error::wrong_type::<T>(&own_key))?;
            let new = codec.encode_value(&update(old));
            new.map(Arc::from).map_err(|_| Error::unencodable::<T>(&own_key))
        };
        self.edit(Edit::Update(key.to_owned(), Box::new(encoded_update)))?;
        match self.get(key)? {
            Some(new) => Ok(new),
            None => unreachable!("it has just been set"),
        }
    }

    /// Removes the value under a key, and returns whether there was one.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// session.insert("cart", ["tea"])?;
    /// assert!(session.remove("cart"));
    /// assert!(!session.remove("cart"));
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "Remove")]
    pub fn remove(&mut self, key: &str) -> bool {
        let exists = !is_reserved(key) && self.contains(key);
        if exists {
            self.edit_infallible(Edit::Remove(key.to_owned()));
        }
        exists
    }

    /// Removes the value under a key and returns it.
    ///
    /// # Errors
    /// [`Error::WrongType`] if there is one of another type; it stays.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// session.insert("return_to", "/checkout")?;
    /// assert_eq!(session.pop::<String>("return_to")?.as_deref(), Some("/checkout"));
    /// assert_eq!(session.pop::<String>("return_to")?, None);
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "Pop")]
    #[doc(alias = "PopString")]
    pub fn pop<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, Error> {
        let value = self.get(key)?;
        self.remove(key);
        Ok(value)
    }

    /// Returns whether there is a value under a key.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// session.insert("cart", ["tea"])?;
    /// assert!(session.contains("cart"));
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "Exists")]
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.content().values.contains(key)
    }

    /// Returns the keys of the application's values, in the order in which they were first
    /// inserted.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// session.insert("theme", "dark")?;
    /// session.insert("cart", ["tea"])?;
    /// assert_eq!(session.keys().collect::<Vec<_>>(), ["theme", "cart"]);
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "Keys")]
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.content().values.keys().filter(|key| !is_reserved(key))
    }

    /// Returns whether the application has no value in the session.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// let session = sessions.load([])?;
    /// assert!(session.is_empty());
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys().next().is_none()
    }

    /// Removes all values, flash values included. Token, deadline, subject and
    /// [`remember_me`](Self::remember_me) stay.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// session.set_subject("7")?;
    /// session.insert("cart", ["tea"])?;
    /// session.clear();
    /// assert!(session.is_empty());
    /// assert_eq!(session.subject().as_deref(), Some("7"));
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "Clear")]
    pub fn clear(&mut self) {
        self.edit_infallible(Edit::Clear);
    }

    /// Keeps a value until it is read once, by this request or a later one: for messages such as
    /// “Saved.”
    ///
    /// # Errors
    /// [`Error::Unencodable`] if the codec can't represent it.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// session.flash("notice", "Saved.")?;
    /// assert_eq!(session.take_flash::<String>("notice")?.as_deref(), Some("Saved."));
    /// assert_eq!(session.take_flash::<String>("notice")?, None);
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    pub fn flash<T: Serialize>(&mut self, key: &str, value: T) -> Result<(), Error> {
        self.set(&format!("{FLASH}{key}"), &value)
    }

    /// Takes a flash value.
    ///
    /// # Errors
    /// [`Error::WrongType`] if there is one of another type; it stays.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// # session.flash("notice", "Saved.")?;
    /// if let Some(notice) = session.take_flash::<String>("notice")? {
    ///     println!("<p role=status>{notice}</p>");
    /// }
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    pub fn take_flash<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, Error> {
        let key = format!("{FLASH}{key}");
        let value = self.get(&key)?;
        if value.is_some() {
            self.edit_infallible(Edit::Remove(key));
        }
        Ok(value)
    }

    /// Puts a value under any key, reserved or not.
    pub(super) fn set<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), Error> {
        let value = self.manager.codec.encode_value(value);
        let value = value.map_err(|_| Error::unencodable::<T>(key))?;
        self.edit_infallible(Edit::Set(key.to_owned(), value.into()));
        Ok(())
    }
}

fn check_key(key: &str) -> Result<(), Error> {
    if is_reserved(key) {
        return Err(Error::ReservedKey { key: key.to_owned() });
    }
    Ok(())
}
