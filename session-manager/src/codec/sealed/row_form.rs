//! Sealed bytes: a header of two bytes and the key's id, the nonce, the ciphertext, the tag.
//!
//! | bytes | what |
//! |---|---|
//! | 0 | 0xC1, with which neither text nor MessagePack begins |
//! | 1 | the version, 1 |
//! | 2 to 5 | the key's id, the most significant byte first |
//! | 6 to 17 | the nonce |
//! | 18 and on | the ciphertext, as long as the plaintext |
//! | the last 16 | the tag |
//!
//! What is authenticated besides: the header with the id, the length of the cookie's name in four
//! bytes, the cookie's name, and the session's key in the store.

use crate::codec::Row;
use crate::codec::sealed::cipher::{Cipher, NONCE_LEN, TAG_LEN};

const MAGIC: u8 = 0xC1;
const VERSION: u8 = 1;

const HEADER_LEN: usize = 6;

/// What stored bytes are.
pub(super) enum Form<'d> {
    /// Not sealed.
    Plain,
    Sealed(SealedBytes<'d>),
    /// Of a version that this one doesn't know.
    NewerVersion(u8),
    /// They begin like sealed bytes, and aren't.
    Damaged,
}

pub(super) struct SealedBytes<'d> {
    header: &'d [u8; HEADER_LEN],
    nonce: &'d [u8; NONCE_LEN],
    ciphertext: &'d [u8],
    tag: &'d [u8; TAG_LEN],
}

impl<'d> Form<'d> {
    pub(super) fn of(data: &'d [u8]) -> Self {
        match data {
            [MAGIC, VERSION, ..] => SealedBytes::of(data).map_or(Self::Damaged, Self::Sealed),
            [MAGIC] | [MAGIC, 0..VERSION, ..] => Self::Damaged,
            [MAGIC, version, ..] => Self::NewerVersion(*version),
            _ => Self::Plain,
        }
    }
}

impl<'d> SealedBytes<'d> {
    fn of(data: &'d [u8]) -> Option<Self> {
        let (header, rest) = data.split_first_chunk()?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (ciphertext, tag) = rest.split_last_chunk()?;
        Some(Self { header, nonce, ciphertext, tag })
    }

    pub(super) fn key_id(&self) -> u32 {
        let [_, _, id @ ..] = *self.header;
        u32::from_be_bytes(id)
    }

    /// Returns the plaintext, or `None` if anything isn't as it was sealed for this row.
    pub(super) fn open(&self, cipher: &Cipher, row: &Row<'_>) -> Option<Vec<u8>> {
        let mut text = self.ciphertext.to_vec();
        cipher.decrypt(self.nonce, &associated_data(*self.header, row)?, &mut text, self.tag)?;
        Some(text)
    }
}

/// Seals a plaintext for a row. `None` for one of 64 GiB and more, or a cookie's name of 4 GiB.
pub(super) fn seal(
    id: u32,
    cipher: &Cipher,
    nonce: &[u8; NONCE_LEN],
    row: &Row<'_>,
    text: &[u8],
) -> Option<Vec<u8>> {
    let [a, b, c, d] = id.to_be_bytes();
    let header = [MAGIC, VERSION, a, b, c, d];
    let associated = associated_data(header, row)?;
    let mut sealed = Vec::with_capacity(HEADER_LEN + NONCE_LEN + text.len() + TAG_LEN);
    sealed.extend_from_slice(&header);
    sealed.extend_from_slice(nonce);
    sealed.extend_from_slice(text);
    let tag = cipher.encrypt(nonce, &associated, &mut sealed[HEADER_LEN + NONCE_LEN..])?;
    sealed.extend_from_slice(&tag);
    Some(sealed)
}

fn associated_data(header: [u8; HEADER_LEN], row: &Row<'_>) -> Option<Vec<u8>> {
    let cookie_len = u32::try_from(row.cookie_name().len()).ok()?.to_be_bytes();
    let (cookie, key) = (row.cookie_name().as_bytes(), row.key().as_bytes());
    Some([&header[..], &cookie_len, cookie, key].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::sealed::cipher::hex;
    use crate::codec::sealed::key::SecretKey;

    /// Bytes that count up.
    fn counting<const N: usize>(first: u8) -> [u8; N] {
        std::array::from_fn(|n| first + u8::try_from(n).expect("there are few"))
    }

    fn cipher() -> Cipher {
        Cipher::new(&SecretKey::from_bytes(&counting::<32>(0x80)).expect("it has the length"))
    }

    /// The row that another implementation has made, OpenSSL's, by the table above.
    #[test]
    fn form_of_version_1_is_as_it_is_written_down() {
        let row = Row::new("__Host-session", "a key");
        let session = br#"{"v":1,"deadline":"2026-11-21T15:30:00.000000Z","values":{"visits":3}}"#;
        let sealed = seal(7, &cipher(), &counting(0x40), &row, session).expect("it is short");
        assert_eq!(
            hex(&sealed),
            "c10100000007404142434445464748494a4be3d59bb1fabec23bb0e29fefcf0a44d3c5cbdb32930cb8\
             803674cbee3d7d8fce2d7a1baf5ac75bac2b543d94be2f00345d8f61aaaee0525e7ba1128e022cf4ce\
             2228b847a99376337ed185d0a0b7ca931066e1bb7bbb"
        );
        assert_eq!(sealed.len(), session.len() + 34);
        let Form::Sealed(bytes) = Form::of(&sealed) else { panic!("it is sealed") };
        assert_eq!(bytes.key_id(), 7);
        assert_eq!(bytes.open(&cipher(), &row).as_deref(), Some(&session[..]));
    }

    #[test]
    fn bytes_that_begin_like_sealed_ones_are_never_taken_for_plain_ones() {
        for damaged in [&[MAGIC][..], &[MAGIC, 0], &[MAGIC, 0, 1, 2], &[MAGIC, VERSION, 0]] {
            assert!(matches!(Form::of(damaged), Form::Damaged), "{damaged:?}");
        }
        assert!(matches!(Form::of(&[MAGIC, 2]), Form::NewerVersion(2)));
        for plain in [&[][..], b"{}", &[VERSION, MAGIC]] {
            assert!(matches!(Form::of(plain), Form::Plain), "{plain:?}");
        }
    }

    /// Where a name ends and a key begins is part of what is authenticated.
    #[test]
    fn names_and_keys_that_read_the_same_together_are_different_rows() {
        let sealed = seal(7, &cipher(), &counting(0), &Row::new("ab", "c"), b"{}");
        let sealed = sealed.expect("it is short");
        let Form::Sealed(bytes) = Form::of(&sealed) else { panic!("it is sealed") };
        assert_eq!(bytes.open(&cipher(), &Row::new("a", "bc")), None);
        assert_eq!(bytes.open(&cipher(), &Row::new("ab", "c")).as_deref(), Some(&b"{}"[..]));
    }
}
