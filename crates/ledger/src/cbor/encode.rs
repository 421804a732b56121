//! From a value to its one encoding.

use super::{Error, F16, F32, F64, FALSE, LIST, MAP, MAX_DEPTH, NEGATIVE, NULL, TEXT, TRUE, UNSIGNED, float};
use serde::{Serialize, ser};

/// The encoding of a value.
///
/// # Errors
/// When it has something that is not written: byte strings, integers of 128 bits, map keys that are not text, or more
/// than [`MAX_DEPTH`] levels.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
    let mut encoder = Encoder { out: Vec::with_capacity(256), depth: 0 };
    value.serialize(&mut encoder)?;
    Ok(encoder.out)
}

struct Encoder {
    out: Vec<u8>,
    depth: usize,
}

fn head(out: &mut Vec<u8>, major: u8, n: u64) {
    let major = major << 5;
    if n < 24 {
        out.push(major | n as u8);
    } else if let Ok(n) = u8::try_from(n) {
        out.extend_from_slice(&[major | 24, n]);
    } else if let Ok(n) = u16::try_from(n) {
        out.push(major | 25);
        out.extend_from_slice(&n.to_be_bytes());
    } else if let Ok(n) = u32::try_from(n) {
        out.push(major | 26);
        out.extend_from_slice(&n.to_be_bytes());
    } else {
        out.push(major | 27);
        out.extend_from_slice(&n.to_be_bytes());
    }
}

impl Encoder {
    fn text(&mut self, text: &str) {
        head(&mut self.out, TEXT, text.len() as u64);
        self.out.extend_from_slice(text.as_bytes());
    }

    fn enter(&mut self) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(Error::Unsupported("a value nested more than 64 levels deep")) } else { Ok(()) }
    }

    /// The map of one that an enum's variant with contents is.
    fn variant(&mut self, name: &str) -> Result<(), Error> {
        self.enter()?;
        head(&mut self.out, MAP, 1);
        self.text(name);
        Ok(())
    }

    fn list(&mut self) -> Result<ListEncoder<'_>, Error> {
        self.enter()?;
        let start = self.out.len();
        Ok(ListEncoder { encoder: self, start, count: 0, levels: 1 })
    }

    fn map(&mut self) -> Result<MapEncoder<'_>, Error> {
        self.enter()?;
        let start = self.out.len();
        Ok(MapEncoder { encoder: self, start, keys: Vec::new(), levels: 1 })
    }
}

impl<'a> ser::Serializer for &'a mut Encoder {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = ListEncoder<'a>;
    type SerializeTuple = ListEncoder<'a>;
    type SerializeTupleStruct = ListEncoder<'a>;
    type SerializeTupleVariant = ListEncoder<'a>;
    type SerializeMap = MapEncoder<'a>;
    type SerializeStruct = MapEncoder<'a>;
    type SerializeStructVariant = MapEncoder<'a>;

    fn serialize_bool(self, v: bool) -> Result<(), Error> {
        self.out.push(if v { TRUE } else { FALSE });
        Ok(())
    }
    fn serialize_i8(self, v: i8) -> Result<(), Error> {
        self.serialize_i64(v.into())
    }
    fn serialize_i16(self, v: i16) -> Result<(), Error> {
        self.serialize_i64(v.into())
    }
    fn serialize_i32(self, v: i32) -> Result<(), Error> {
        self.serialize_i64(v.into())
    }
    fn serialize_i64(self, v: i64) -> Result<(), Error> {
        match u64::try_from(v) {
            Ok(v) => head(&mut self.out, UNSIGNED, v),
            Err(_) => head(&mut self.out, NEGATIVE, !v as u64),
        }
        Ok(())
    }
    fn serialize_u8(self, v: u8) -> Result<(), Error> {
        self.serialize_u64(v.into())
    }
    fn serialize_u16(self, v: u16) -> Result<(), Error> {
        self.serialize_u64(v.into())
    }
    fn serialize_u32(self, v: u32) -> Result<(), Error> {
        self.serialize_u64(v.into())
    }
    fn serialize_u64(self, v: u64) -> Result<(), Error> {
        head(&mut self.out, UNSIGNED, v);
        Ok(())
    }
    fn serialize_f32(self, v: f32) -> Result<(), Error> {
        match float::to_half(v) {
            Some(half) => {
                self.out.push(F16);
                self.out.extend_from_slice(&half.to_be_bytes());
            }
            None => {
                self.out.push(F32);
                self.out.extend_from_slice(&v.to_be_bytes());
            }
        }
        Ok(())
    }
    fn serialize_f64(self, v: f64) -> Result<(), Error> {
        let single = v as f32;
        if v.is_nan() || f64::from(single) == v {
            return self.serialize_f32(single);
        }
        self.out.push(F64);
        self.out.extend_from_slice(&v.to_be_bytes());
        Ok(())
    }
    fn serialize_char(self, v: char) -> Result<(), Error> {
        self.text(v.encode_utf8(&mut [0; 4]));
        Ok(())
    }
    fn serialize_str(self, v: &str) -> Result<(), Error> {
        self.text(v);
        Ok(())
    }
    fn serialize_bytes(self, _: &[u8]) -> Result<(), Error> {
        Err(Error::Unsupported("a byte string"))
    }
    fn serialize_none(self) -> Result<(), Error> {
        self.serialize_unit()
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<(), Error> {
        self.out.push(NULL);
        Ok(())
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        self.serialize_unit()
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Error> {
        self.serialize_str(variant)
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.variant(variant)?;
        value.serialize(&mut *self)?;
        self.depth -= 1;
        Ok(())
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<ListEncoder<'a>, Error> {
        self.list()
    }
    fn serialize_tuple(self, _: usize) -> Result<ListEncoder<'a>, Error> {
        self.list()
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<ListEncoder<'a>, Error> {
        self.list()
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<ListEncoder<'a>, Error> {
        self.variant(variant)?;
        Ok(ListEncoder { levels: 2, ..self.list()? })
    }
    fn serialize_map(self, _: Option<usize>) -> Result<MapEncoder<'a>, Error> {
        self.map()
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<MapEncoder<'a>, Error> {
        self.map()
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<MapEncoder<'a>, Error> {
        self.variant(variant)?;
        Ok(MapEncoder { levels: 2, ..self.map()? })
    }
}

/// A list whose length is known when it ends: its items are written first, its head put before them.
struct ListEncoder<'a> {
    encoder: &'a mut Encoder,
    start: usize,
    count: u64,
    levels: usize,
}

impl ListEncoder<'_> {
    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.count += 1;
        value.serialize(&mut *self.encoder)
    }

    fn finish(self) {
        let items = self.encoder.out.split_off(self.start);
        head(&mut self.encoder.out, LIST, self.count);
        self.encoder.out.extend_from_slice(&items);
        self.encoder.depth -= self.levels;
    }
}

/// A map whose pairs are written as they come and put in order at the end.
struct MapEncoder<'a> {
    encoder: &'a mut Encoder,
    start: usize,
    /// Where each key begins and ends, from `start`.
    keys: Vec<(usize, usize)>,
    levels: usize,
}

impl MapEncoder<'_> {
    fn key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        let start = self.encoder.out.len();
        key.serialize(&mut *self.encoder)?;
        if self.encoder.out.get(start).is_none_or(|first| first >> 5 != TEXT) {
            return Err(Error::Unsupported("a map key that is not text"));
        }
        self.keys.push((start - self.start, self.encoder.out.len() - self.start));
        Ok(())
    }

    fn pair<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Error> {
        self.key(key)?;
        value.serialize(&mut *self.encoder)
    }

    fn finish(self) -> Result<(), Error> {
        let pairs = self.encoder.out.split_off(self.start);
        let out = &mut self.encoder.out;
        head(out, MAP, self.keys.len() as u64);
        // Each pair as (where it begins, where its key ends, where it ends).
        let ends = self.keys.iter().skip(1).map(|(start, _)| *start).chain([pairs.len()]);
        let mut order: Vec<_> = self.keys.iter().zip(ends).map(|(&(start, key), end)| (start, key, end)).collect();
        order.sort_unstable_by_key(|&(start, key, _)| &pairs[start..key]);
        if order.windows(2).any(|two| pairs[two[0].0..two[0].1] == pairs[two[1].0..two[1].1]) {
            return Err(Error::Unsupported("a map with one key twice"));
        }
        order.iter().for_each(|&(start, _, end)| out.extend_from_slice(&pairs[start..end]));
        self.encoder.depth -= self.levels;
        Ok(())
    }
}

macro_rules! list {
    ($($role:ident $method:ident),*) => {$(
        impl ser::$role for ListEncoder<'_> {
            type Ok = ();
            type Error = Error;
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
                self.item(value)
            }
            fn end(self) -> Result<(), Error> {
                self.finish();
                Ok(())
            }
        }
    )*};
}
list!(SerializeSeq serialize_element, SerializeTuple serialize_element, SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field);

macro_rules! fields {
    ($($role:ident),*) => {$(
        impl ser::$role for MapEncoder<'_> {
            type Ok = ();
            type Error = Error;
            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Error> {
                self.pair(key, value)
            }
            fn end(self) -> Result<(), Error> {
                self.finish()
            }
        }
    )*};
}
fields!(SerializeStruct, SerializeStructVariant);

impl ser::SerializeMap for MapEncoder<'_> {
    type Ok = ();
    type Error = Error;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.key(key)
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        value.serialize(&mut *self.encoder)
    }
    fn end(self) -> Result<(), Error> {
        self.finish()
    }
}
