//! The application's values, typed through serde.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::Codec;
use crate::content::edit::Edit;
use crate::content::reserved::{FLASH, is_reserved};
use crate::content::typed::TypedReader;
use crate::content::values::MAX_VALUES;
use crate::error::Error;
use crate::session::Session;
#[cfg(doc)]
use crate::{EventKind, SessionManager};

impl<C: Codec> Session<'_, C> {
    /// Returns the value under a key.
    ///
    /// A value of another type, such as one that an older version of the application has put there,
    /// counts as absent, and is reported as [`EventKind::WrongType`]. A `None` is also the absence
    /// of what its `Some` would hold.
    ///
    /// # Errors
    /// [`Error::WrongType`] if there is one of another type and types are
    /// [strict](SessionManager::with_strict_types).
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// session.insert("user_id", 7)?;
    /// assert_eq!(session.get("user_id")?, Some(7));
    /// assert_eq!(session.get::<String>("theme")?, None);
    /// assert_eq!(session.get::<String>("user_id")?, None);
    ///
    /// session.insert("theme", None::<String>)?;
    /// assert_eq!(session.get::<String>("theme")?, None);
    /// assert_eq!(session.get::<Option<String>>("theme")?, Some(None));
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    #[doc(alias = "Get")]
    #[doc(alias = "GetString")]
    #[doc(alias = "GetInt")]
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        self.reader().read(key, self.content().values.get(key, self.data()))
    }

    /// Returns the value under a key, or the type's default. An application that keeps all that it
    /// needs in one struct has it under one key, and changes it by [`update`](Self::update).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// assert_eq!(session.get_or_default::<Vec<String>>("cart")?, [""; 0]);
    /// session.insert("cart", ["tea"])?;
    /// assert_eq!(session.get_or_default::<Vec<String>>("cart")?, ["tea"]);
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    pub fn get_or_default<T: DeserializeOwned + Default>(&self, key: &str) -> Result<T, Error> {
        Ok(self.get(key)?.unwrap_or_default())
    }

    /// Returns the application's values of a type with their keys, in the order in which they were
    /// first inserted. Those of another type are left out, and aren't reported.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// session.insert("tea", 2)?;
    /// session.insert("milk", 1)?;
    /// session.insert("theme", "dark")?;
    /// assert_eq!(session.values::<u32>().collect::<Vec<_>>(), [("tea", 2), ("milk", 1)]);
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    pub fn values<T: DeserializeOwned>(&self) -> impl Iterator<Item = (&str, T)> {
        let (codec, values) = (&self.manager.codec, self.content().values.iter(self.data()));
        let own = values.filter(|(key, _)| !is_reserved(key));
        own.filter_map(|(key, value)| Some((key, codec.decode_value(value).ok()?)))
    }

    /// Puts a value under a key, and replaces the one that is there.
    ///
    /// # Errors
    /// [`Error::Unencodable`] if the codec can't represent it; [`Error::ReservedKey`] for keys that
    /// begin with `__flash.`, and those that the session keeps for itself;
    /// [`Error::TooManyValues`].
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

    /// Replaces the value under a key by what `update` makes of it, and returns the new value. The
    /// closure may also return an `Option`, whose `None` is the absence of a value.
    ///
    /// If another request has changed the session in the meantime, `update` is called again with
    /// the newest value when this one finishes: a counter counts any number of concurrent requests.
    /// So the closure must depend on its argument alone. A value of another type is replaced; the
    /// closure gets `None`, as [`get`](Self::get) would return.
    ///
    /// # Errors
    /// [`Error::WrongType`] if the value there is of another type and types are
    /// [strict](SessionManager::with_strict_types); [`Error::Unencodable`] if the codec can't
    /// represent the new one, or not read it again; [`Error::ReservedKey`];
    /// [`Error::TooManyValues`].
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
    ///
    /// session.insert("attempts_left", 1)?;
    /// session.update("attempts_left", |n: Option<u32>| n.filter(|n| *n > 1).map(|n| n - 1))?;
    /// assert_eq!(session.get::<u32>("attempts_left")?, None);
    /// # Ok::<(), session_manager::Error>(())
    /// ```
    pub fn update<T, U, F>(&mut self, key: &str, mut update: F) -> Result<U, Error>
    where
        T: DeserializeOwned,
        U: Serialize + DeserializeOwned + Into<Option<T>>,
        F: FnMut(Option<T>) -> U + Send + 'static,
    {
        check_key(key)?;
        let own_key = key.to_owned();
        let mut encoded_update = move |reader: &TypedReader<'_, C>, old: Option<&[u8]>| {
            let new = update(reader.read(&own_key, old)?);
            let new = reader.manager.codec.encode_value(&new);
            new.map(Arc::from).map_err(|_| Error::unencodable::<U>(&own_key))
        };
        let old = self.content().values.get(key, self.data());
        let encoded = encoded_update(&self.reader(), old)?;
        let new = self.manager.codec.decode_value(&encoded);
        let new = new.map_err(|_| Error::unencodable::<U>(key))?;
        self.check_room_for(key)?;
        self.content.values.set(key, encoded);
        self.edits.push(Edit::Update(key.to_owned(), Box::new(encoded_update)));
        Ok(new)
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

    /// Removes the value under a key and returns it, as [`get`](Self::get) would: one of another
    /// type is removed, too.
    ///
    /// # Errors
    /// [`Error::WrongType`] if there is one of another type and types are
    /// [strict](SessionManager::with_strict_types); it stays.
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

    /// Returns whether there is a value under a key, of whatever type. A `None` that was inserted
    /// is one.
    ///
    /// # Examples
    /// ```
    /// # let sessions = session_manager::SessionManager::new(store_core::MemoryStore::new()?);
    /// # let mut session = sessions.load([])?;
    /// session.insert("cart", ["tea"])?;
    /// session.insert("voucher", None::<String>)?;
    /// assert!(session.contains("cart") && session.contains("voucher"));
    /// assert!(!session.contains("theme"));
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
    /// [`Error::Unencodable`] if the codec can't represent it; [`Error::TooManyValues`].
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

    /// Takes a flash value: removes it and returns it. One of another type is removed, too, and
    /// reported as [`EventKind::WrongType`].
    ///
    /// # Errors
    /// [`Error::WrongType`] if there is one of another type and types are
    /// [strict](SessionManager::with_strict_types). It stays; taken as
    /// [`IgnoredAny`](serde::de::IgnoredAny), it goes whatever its type is.
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
        if self.contains(&key) {
            self.edit_infallible(Edit::Remove(key));
        }
        Ok(value)
    }

    /// Puts a value under any key, reserved or not.
    pub(super) fn set<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), Error> {
        let value = self.manager.codec.encode_value(value);
        let value = value.map_err(|_| Error::unencodable::<T>(key))?;
        self.check_room_for(key)?;
        self.edit_infallible(Edit::Set(key.to_owned(), value.into()));
        Ok(())
    }

    /// Refuses a further value beyond the bound.
    fn check_room_for(&self, key: &str) -> Result<(), Error> {
        let values = &self.content.values;
        if values.len() >= MAX_VALUES && !values.contains(key) {
            return Err(Error::TooManyValues { max: MAX_VALUES });
        }
        Ok(())
    }
}

fn check_key(key: &str) -> Result<(), Error> {
    if is_reserved(key) {
        return Err(Error::ReservedKey { key: key.to_owned() });
    }
    Ok(())
}
