//! The cipher under one key.

use aes_gcm_siv::aead::inout::InOutBuf;
use aes_gcm_siv::{AeadInOut as _, Aes256GcmSiv, KeyInit as _, Nonce, Tag};

use crate::codec::sealed::key::SecretKey;

pub(super) const NONCE_LEN: usize = 12;
pub(super) const TAG_LEN: usize = 16;

/// A key as the cipher uses it, which is computed once. It is overwritten when dropped.
// In a box, so that moving it leaves no copy behind.
#[derive(Clone)]
pub(super) struct Cipher(Box<Aes256GcmSiv>);

impl Cipher {
    pub(super) fn new(key: &SecretKey) -> Self {
        Self(Box::new(Aes256GcmSiv::new(key.bytes().into())))
    }

    /// Encrypts in place. `None` for a text of 64 GiB and more.
    pub(super) fn encrypt(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated: &[u8],
        text: &mut [u8],
    ) -> Option<Tag> {
        let nonce: &Nonce = nonce.into();
        self.0.encrypt_inout_detached(nonce, associated, InOutBuf::from(text)).ok()
    }

    /// Decrypts in place. `None` if anything isn't as it was encrypted.
    pub(super) fn decrypt(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Option<()> {
        let (nonce, tag): (&Nonce, &Tag) = (nonce.into(), tag.into());
        self.0.decrypt_inout_detached(nonce, associated, InOutBuf::from(text), tag).ok()
    }
}

#[cfg(test)]
fn digit(half: u8) -> char {
    char::from_digit(half.into(), 16).expect("it is below 16")
}

#[cfg(test)]
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(digit).collect()
}

#[cfg(test)]
mod tests {
    use aes::Aes256;
    use zeroize::{ZeroizeOnDrop, Zeroizing};

    use super::*;

    /// C.2 of RFC 8452.
    #[test]
    fn cipher_is_the_one_of_the_rfc() {
        let start = |first: u8| {
            let mut bytes = [0; 32];
            bytes[0] = first;
            bytes
        };
        let cipher = Cipher::new(&SecretKey::from_bytes(&start(1)).expect("it has the length"));
        let nonce = *start(3).first_chunk().expect("it is longer");
        for (associated, text, expected) in [
            (&b""[..], start(1), "c2ef328e5c71c83b843122130f7364b761e0b97427e3df28"),
            (b"\x01", start(2), "1de22967237a813291213f267e3b452f02d01ae33e4ec854"),
        ] {
            let mut sealed = text[..8].to_vec();
            let tag = cipher.encrypt(&nonce, associated, &mut sealed).expect("it is short");
            assert_eq!(hex(&[&sealed[..], &tag].concat()), expected);
            let opened = cipher.decrypt(&nonce, associated, &mut sealed, &tag.into());
            assert_eq!((opened, &*sealed), (Some(()), &text[..8]));
        }
    }

    /// It compiles, so what has keys in it overwrites them when it is dropped.
    #[test]
    fn keys_are_overwritten_when_they_are_dropped() {
        fn overwrites<T: ZeroizeOnDrop>() {}
        overwrites::<Aes256>();
        overwrites::<Zeroizing<[u8; 32]>>();
    }
}
