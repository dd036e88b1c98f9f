//! Where tiles and bundles lie in a published log (C2SP tlog-tiles, "APIs").

use std::{fmt, str::FromStr};

use super::tile::{Bundle, TILE_WIDTH, Tile};

/// The path is not one that a log of this format has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the path of a tile or a bundle")]
pub struct ParseTileError;

impl ParseTileError {
    /// The stable code.
    pub const fn code(self) -> &'static str {
        "E_LEDGER_TILE"
    }

    /// What to do about it.
    pub const fn help(self) -> &'static str {
        "paths are `tile/LEVEL/INDEX` and `tile/entries/INDEX`, as in C2SP tlog-tiles"
    }
}

/// The path below the log's prefix, as in `tile/0/x001/x234/067.p/8`.
impl fmt::Display for Tile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "tile/{}/", self.level())?;
        write_place(formatter, self.index(), self.width())
    }
}

/// The path below the log's prefix, as in `tile/entries/x001/x234/067.p/8`.
impl fmt::Display for Bundle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("tile/entries/")?;
        write_place(formatter, self.index(), self.width())
    }
}

impl FromStr for Tile {
    type Err = ParseTileError;

    fn from_str(path: &str) -> Result<Self, ParseTileError> {
        let rest = path.strip_prefix("tile/").ok_or(ParseTileError)?;
        let (level, place) = rest.split_once('/').ok_or(ParseTileError)?;
        let level = decimal(level).and_then(|level| u8::try_from(level).ok()).ok_or(ParseTileError)?;
        let (index, width) = parse_place(place).ok_or(ParseTileError)?;
        Self::new(level, index, width).ok_or(ParseTileError)
    }
}

impl FromStr for Bundle {
    type Err = ParseTileError;

    fn from_str(path: &str) -> Result<Self, ParseTileError> {
        let place = path.strip_prefix("tile/entries/").ok_or(ParseTileError)?;
        let (index, width) = parse_place(place).ok_or(ParseTileError)?;
        Self::new(index, width).ok_or(ParseTileError)
    }
}

fn write_place(formatter: &mut fmt::Formatter<'_>, index: u64, width: u16) -> fmt::Result {
    let mut unit = 1;
    while index / unit >= 1000 {
        unit *= 1000;
    }
    while unit > 1 {
        write!(formatter, "x{:03}/", index / unit % 1000)?;
        unit /= 1000;
    }
    write!(formatter, "{:03}", index % 1000)?;
    if width < TILE_WIDTH { write!(formatter, ".p/{width}") } else { Ok(()) }
}

fn parse_place(place: &str) -> Option<(u64, u16)> {
    let (index, width) = match place.split_once(".p/") {
        Some((index, width)) => {
            let width = decimal(width).filter(|width| (1..u64::from(TILE_WIDTH)).contains(width))?;
            (index, width as u16)
        }
        None => (place, TILE_WIDTH),
    };
    Some((parse_index(index)?, width))
}

fn parse_index(text: &str) -> Option<u64> {
    let (high, last) = match text.rsplit_once('/') {
        Some((high, last)) => (Some(high), last),
        None => (None, text),
    };
    let mut index = 0_u64;
    for (place, element) in high.into_iter().flat_map(|high| high.split('/')).enumerate() {
        let group = group(element.strip_prefix('x')?)?;
        // Without a first group of zeros, each index has one path.
        if place == 0 && group == 0 {
            return None;
        }
        index = index.checked_mul(1000)?.checked_add(group)?;
    }
    index.checked_mul(1000)?.checked_add(group(last)?)
}

/// Three digits.
fn group(text: &str) -> Option<u64> {
    let is_group = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_group { text.parse().ok() } else { None }
}

/// A number without sign or leading zeros.
fn decimal(text: &str) -> Option<u64> {
    let is_decimal =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_decimal { text.parse().ok() } else { None }
}
