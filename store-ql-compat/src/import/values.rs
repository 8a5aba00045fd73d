//! The values of a record, whatever its format.

use super::scalars::{Malformed, Value};
use super::{v1, v2};
use crate::ql_format::QlFormat;

/// The values of a record, one after the other. After a malformed one the iterator ends.
#[derive(Clone, Debug)]
pub(super) struct Values<'a> {
    format: QlFormat,
    rest: &'a [u8],
}

impl<'a> Values<'a> {
    pub(super) fn from_bytes(format: QlFormat, content: &'a [u8]) -> Self {
        Self { format, rest: content }
    }

    /// How many bytes follow the value that was returned last.
    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Returns the values if there are exactly `N`.
    pub(super) fn exactly<const N: usize>(self) -> Result<[Value<'a>; N], Malformed> {
        const MISCOUNTED: Malformed = "a record has too few or too many values";
        let mut values = [Value::Null; N];
        let mut count = 0;
        for value in self {
            *values.get_mut(count).ok_or(MISCOUNTED)? = value?;
            count += 1;
        }
        if count == N { Ok(values) } else { Err(MISCOUNTED) }
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = Result<Value<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&tag, rest) = self.rest.split_first()?;
        self.rest = rest;
        let value = match self.format {
            QlFormat::V1 => v1::scalar(tag, &mut self.rest),
            QlFormat::V2 => v2::value(tag, &mut self.rest),
        };
        if value.is_err() {
            self.rest = &[];
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_counts() {
        let values = Values::from_bytes(QlFormat::V1, &[0x00, 0x55 + 7]);
        assert_eq!(values.clone().exactly(), Ok([Value::Null, Value::Int(7)]));
        assert!(values.clone().exactly::<1>().is_err());
        assert!(values.exactly::<3>().is_err());
    }
}
