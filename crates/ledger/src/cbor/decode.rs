//! From bytes to a value, refusing every encoding but the one that [`super::to_vec`] writes.

use super::{Error, F16, F32, F64, FALSE, LIST, MAP, MAX_DEPTH, NEGATIVE, NULL, TEXT, TRUE, UNSIGNED, float};
use serde::de::{self, DeserializeSeed, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

/// The value that the bytes encode.
///
/// # Errors
/// When they are not the deterministic encoding of such a value, or are more than that.
pub fn from_slice<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, Error> {
    let mut decoder = Decoder { bytes, at: 0, depth: 0 };
    let value = T::deserialize(&mut decoder)?;
    if decoder.at == bytes.len() { Ok(value) } else { Err(Error::Trailing(decoder.at)) }
}

struct Decoder<'de> {
    bytes: &'de [u8],
    at: usize,
    depth: usize,
}

/// The head of an item: its first byte, major type and argument.
struct Head {
    byte: u8,
    major: u8,
    n: u64,
}

impl<'de> Decoder<'de> {
    fn peek(&self) -> Result<u8, Error> {
        self.bytes.get(self.at).copied().ok_or(Error::Truncated(self.bytes.len()))
    }

    fn take(&mut self, length: u64) -> Result<&'de [u8], Error> {
        let rest = &self.bytes[self.at..];
        let taken =
            usize::try_from(length).ok().and_then(|n| rest.get(..n)).ok_or(Error::Truncated(self.bytes.len()))?;
        self.at += taken.len();
        Ok(taken)
    }

    fn argument<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N as u64)?);
        Ok(bytes)
    }

    fn wrong(&self, what: &'static str) -> Error {
        Error::NotDeterministic { at: self.at, what }
    }

    fn head(&mut self) -> Result<Head, Error> {
        let byte = self.peek()?;
        self.at += 1;
        let (n, least) = match byte & 0x1f {
            n @ 0..24 => (u64::from(n), 0),
            24 => (u64::from(u8::from_be_bytes(self.argument()?)), 24),
            25 => (u64::from(u16::from_be_bytes(self.argument()?)), 1 << 8),
            26 => (u64::from(u32::from_be_bytes(self.argument()?)), 1 << 16),
            27 => (u64::from_be_bytes(self.argument()?), 1 << 32),
            _ => return Err(self.wrong("an indefinite length")),
        };
        let major = byte >> 5;
        // For floating-point numbers the argument is the number itself; see `float`.
        if n < least && major < 7 {
            return Err(self.wrong("a number that is not as short as possible"));
        }
        Ok(Head { byte, major, n })
    }

    fn text(&mut self) -> Result<&'de str, Error> {
        let at = self.at;
        let head = self.head()?;
        if head.major != TEXT {
            return Err(Error::Unexpected { at, expected: "text" });
        }
        self.text_of(head.n)
    }

    fn text_of(&mut self, length: u64) -> Result<&'de str, Error> {
        std::str::from_utf8(self.take(length)?).map_err(|_| self.wrong("text that is not UTF-8"))
    }

    fn float(&self, head: &Head) -> Result<f64, Error> {
        let short = match head.byte {
            F16 => {
                let value = float::from_half(head.n as u16);
                return if value.is_nan() && head.n != 0x7e00 {
                    Err(self.wrong("another not-a-number than the one allowed"))
                } else {
                    Ok(value.into())
                };
            }
            F32 => {
                let value = f32::from_bits(head.n as u32);
                (f64::from(value), float::to_half(value).is_none())
            }
            _ => {
                let value = f64::from_bits(head.n);
                (value, !value.is_nan() && f64::from(value as f32) != value)
            }
        };
        if short.1 { Ok(short.0) } else { Err(self.wrong("a number that is not as short as possible")) }
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.depth == MAX_DEPTH {
            return Err(self.wrong("more than 64 levels"));
        }
        self.depth += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn list<V: Visitor<'de>>(&mut self, count: u64, visitor: V) -> Result<V::Value, Error> {
        self.nested(|decoder| {
            let mut items = Items { decoder, left: count, last_key: &[] };
            let value = visitor.visit_seq(&mut items)?;
            items.end(value)
        })
    }

    fn map<V: Visitor<'de>>(&mut self, count: u64, visitor: V) -> Result<V::Value, Error> {
        self.nested(|decoder| {
            let mut items = Items { decoder, left: count, last_key: &[] };
            let value = visitor.visit_map(&mut items)?;
            items.end(value)
        })
    }
}

impl<'de> de::Deserializer<'de> for &mut Decoder<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let at = self.at;
        let head = self.head()?;
        match (head.major, head.byte) {
            (UNSIGNED, _) => visitor.visit_u64(head.n),
            (NEGATIVE, _) => match i64::try_from(head.n) {
                Ok(n) => visitor.visit_i64(!n),
                Err(_) => Err(Error::Unexpected { at, expected: "an integer of 64 bits" }),
            },
            (TEXT, _) => visitor.visit_borrowed_str(self.text_of(head.n)?),
            (LIST, _) => self.list(head.n, visitor),
            (MAP, _) => self.map(head.n, visitor),
            (_, FALSE) => visitor.visit_bool(false),
            (_, TRUE) => visitor.visit_bool(true),
            (_, NULL) => visitor.visit_unit(),
            (_, F16 | F32 | F64) => {
                let value = self.float(&head)?;
                visitor.visit_f64(value)
            }
            _ => Err(Error::Unexpected { at, expected: "null, a boolean, a number, text, a list or a map" }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.peek()? == NULL {
            self.at += 1;
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let at = self.at;
        if self.peek()? >> 5 == TEXT {
            return visitor.visit_enum(de::value::BorrowedStrDeserializer::new(self.text()?));
        }
        let head = self.head()?;
        if head.major != MAP || head.n != 1 {
            return Err(Error::Unexpected { at, expected: "the variant of an enum: a text or a map of one" });
        }
        self.nested(|decoder| visitor.visit_enum(Variant { decoder }))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

/// The items of a list, or the pairs of a map, that are left.
struct Items<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    left: u64,
    last_key: &'de [u8],
}

impl Items<'_, '_> {
    /// A visitor may stop early; what it did not take would be read as something else.
    fn end<T>(&self, value: T) -> Result<T, Error> {
        if self.left == 0 { Ok(value) } else { Err(Error::Unexpected { at: self.decoder.at, expected: "fewer items" }) }
    }

    fn hint(&self) -> usize {
        // An item takes at least one byte, so a count beyond that is a lie and not worth an allocation.
        usize::try_from(self.left).unwrap_or(usize::MAX).min(self.decoder.bytes.len() - self.decoder.at)
    }
}

impl<'de> de::SeqAccess<'de> for &mut Items<'_, 'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.decoder).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.hint())
    }
}

impl<'de> de::MapAccess<'de> for &mut Items<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let start = self.decoder.at;
        let key = self.decoder.text()?;
        let encoded = &self.decoder.bytes[start..self.decoder.at];
        if encoded <= self.last_key {
            return Err(Error::NotDeterministic { at: start, what: "map keys that are not in order" });
        }
        self.last_key = encoded;
        seed.deserialize(de::value::BorrowedStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        seed.deserialize(&mut *self.decoder)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.hint())
    }
}

/// The contents of an enum's variant.
struct Variant<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
}

impl<'de> de::EnumAccess<'de> for Variant<'_, 'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        let name = self.decoder.text()?;
        let variant = seed.deserialize(de::value::BorrowedStrDeserializer::<Error>::new(name))?;
        Ok((variant, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'_, 'de> {
    type Error = Error;

    /// A variant without contents is a text, never a map.
    fn unit_variant(self) -> Result<(), Error> {
        Err(self.decoder.wrong("contents in a variant that has none"))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self.decoder)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        de::Deserializer::deserialize_any(self.decoder, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        de::Deserializer::deserialize_any(self.decoder, visitor)
    }
}
