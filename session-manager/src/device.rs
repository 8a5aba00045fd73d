//! Where somebody is logged in.

/// The longest text that is kept, in bytes. The user agents of browsers have some 150.
const MAX_LEN: usize = 512;

/// What an application says of the device that a session is on, for the list from which users end
/// their sessions: [`Session::set_device`](crate::Session::set_device).
///
/// Each text is cut off after 512 bytes. They come from the visitor, so they are to be escaped
/// where they are shown.
///
/// # Examples
/// ```
/// use session_manager::Device;
///
/// let device = Device::new()
///     .with_label("Firefox on Linux")
///     .with_address("192.0.2.7")
///     .with_user_agent("Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0");
/// assert_eq!(device.label(), Some("Firefox on Linux"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Device {
    label: Option<String>,
    address: Option<String>,
    user_agent: Option<String>,
}

/// A device as a session has it.
pub(crate) type DeviceFields = (Option<String>, Option<String>, Option<String>);

impl Device {
    /// Returns a device of which nothing is known.
    ///
    /// # Examples
    /// ```
    /// # use session_manager::Device;
    /// assert_eq!(Device::new().label(), None);
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a few words by which its owner recognizes it.
    ///
    /// # Examples
    /// ```
    /// # use session_manager::Device;
    /// assert_eq!(Device::new().with_label("kitchen").label(), Some("kitchen"));
    /// ```
    pub fn with_label(mut self, label: &str) -> Self {
        self.label = Some(cut(label));
        self
    }

    /// Sets the network address, or the place, from which it was used.
    ///
    /// # Examples
    /// ```
    /// # use session_manager::Device;
    /// let device = Device::new().with_address("192.0.2.7");
    /// assert_eq!(device.address(), Some("192.0.2.7"));
    /// ```
    pub fn with_address(mut self, address: &str) -> Self {
        self.address = Some(cut(address));
        self
    }

    /// Sets what the browser says that it is.
    ///
    /// # Examples
    /// ```
    /// # use session_manager::Device;
    /// let device = Device::new().with_user_agent("curl/8.16.0");
    /// assert_eq!(device.user_agent(), Some("curl/8.16.0"));
    /// ```
    pub fn with_user_agent(mut self, user_agent: &str) -> Self {
        self.user_agent = Some(cut(user_agent));
        self
    }

    /// Returns the words by which its owner recognizes it.
    ///
    /// # Examples
    /// ```
    /// # use session_manager::Device;
    /// assert_eq!(Device::new().with_label("kitchen").label(), Some("kitchen"));
    /// ```
    #[must_use]
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// Returns the network address, or the place, from which it was used.
    ///
    /// # Examples
    /// ```
    /// # use session_manager::Device;
    /// assert_eq!(Device::new().address(), None);
    /// ```
    #[must_use]
    pub fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// Returns what the browser says that it is.
    ///
    /// # Examples
    /// ```
    /// # use session_manager::Device;
    /// assert_eq!(Device::new().user_agent(), None);
    /// ```
    #[must_use]
    pub fn user_agent(&self) -> Option<&str> {
        self.user_agent.as_deref()
    }

    pub(crate) fn fields(&self) -> (Option<&str>, Option<&str>, Option<&str>) {
        (self.label(), self.address(), self.user_agent())
    }
}

impl From<DeviceFields> for Device {
    fn from((label, address, user_agent): DeviceFields) -> Self {
        Self { label, address, user_agent }
    }
}

/// Returns as much of a text as is kept.
fn cut(text: &str) -> String {
    let mut len = text.len().min(MAX_LEN);
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    text[..len].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        let device = Device::new().with_user_agent(&"ü".repeat(MAX_LEN));
        assert_eq!(device.user_agent().map(str::len), Some(MAX_LEN));
        let device = Device::new().with_user_agent(&format!("x{}", "ü".repeat(MAX_LEN)));
        assert_eq!(device.user_agent().map(str::len), Some(MAX_LEN - 1));
    }
}
