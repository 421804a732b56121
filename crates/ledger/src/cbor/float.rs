//! Half-precision floating-point numbers, which the shortest encoding needs and stable Rust does not have.

/// The half-precision number that is exactly `value`, if there is one. Not-a-number has one form only.
pub(super) fn to_half(value: f32) -> Option<u16> {
    if value.is_nan() {
        return Some(0x7e00);
    }
    let bits = value.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    if value.is_infinite() {
        return Some(sign | 0x7c00);
    }
    if value == 0.0 {
        return Some(sign);
    }
    let exponent = (bits >> 23 & 0xff) as i32 - 127;
    let mantissa = bits & 0x007f_ffff;
    match exponent {
        -14..=15 => (mantissa & 0x1fff == 0).then(|| sign | ((exponent + 15) as u16) << 10 | (mantissa >> 13) as u16),
        -24..=-15 => {
            // Subnormal: a multiple of 2^-24 below 2^-14.
            let full = mantissa | 0x0080_0000;
            let shift = (-exponent - 1) as u32;
            (full & ((1 << shift) - 1) == 0).then(|| sign | (full >> shift) as u16)
        }
        _ => None,
    }
}

/// The value of a half-precision number.
pub(super) fn from_half(half: u16) -> f32 {
    let sign = if half & 0x8000 == 0 { 1.0 } else { -1.0 };
    let mantissa = f32::from(half & 0x03ff);
    sign * match half >> 10 & 0x1f {
        0 => mantissa / (1 << 24) as f32,
        0x1f if mantissa == 0.0 => f32::INFINITY,
        0x1f => f32::NAN,
        exponent => (1.0 + mantissa / 1024.0) * f32::powi(2.0, i32::from(exponent) - 15),
    }
}
