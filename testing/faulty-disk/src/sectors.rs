//! Which sectors of a file are kept.

use std::{cmp, collections::BTreeMap};

use crate::Random;

/// A change of a file that was not synced yet.
#[derive(Clone)]
pub(crate) enum Pending {
    Write { offset: usize, data: Vec<u8> },
    Resize(usize),
}

/// What gets lost of what was not synced.
pub(crate) struct Loss {
    sector: usize,
    /// How many of a hundred sectors are kept.
    pub kept: u64,
    /// How many of a hundred are torn.
    torn: u64,
    /// Whether a sector is always as it was at one moment, and not any of the writes to it without
    /// those before.
    is_in_order: bool,
    /// Whether what was never written reads as something else than zeros.
    is_stale: bool,
}

impl Loss {
    pub const NONE: Self = Self { sector: 512, kept: 100, torn: 0, is_in_order: true, is_stale: false };

    pub fn any(sector: usize, random: &mut Random) -> Self {
        let kept = match random.below(6) {
            0 => 0,
            1 => 100,
            2 => 97,
            _ => random.below(100),
        };
        let torn = if random.is_in(50) { random.below(30) } else { 0 };
        Self { sector, kept, torn, is_in_order: random.is_in(50), is_stale: random.is_in(50) }
    }
}

/// The bytes after a change.
pub(crate) fn apply(change: &Pending, content: &mut Vec<u8>) {
    match change {
        Pending::Write { offset, data } => {
            let end = offset + data.len();
            content.resize(cmp::max(content.len(), end), 0);
            content[*offset..end].copy_from_slice(data);
        }
        Pending::Resize(size) => content.resize(*size, 0),
    }
}

/// The bytes that are on the disk after changes of which some are lost.
pub(crate) fn settle(disk: &[u8], pending: &[Pending], loss: &Loss, random: &mut Random) -> Vec<u8> {
    let mut content = disk.to_vec();
    if loss.kept == 100 {
        for change in pending {
            apply(change, &mut content);
        }
        return content;
    }
    let size = any_size(disk.len(), pending, random);
    let stale = if loss.is_stale { random.next() as u8 | 1 } else { 0 };
    content.resize(cmp::max(size, disk.len()), stale);
    for (number, changes) in by_sector(pending, loss.sector, content.len()) {
        let start = number * loss.sector;
        let end = cmp::min(start + loss.sector, content.len());
        let kept = any_changes(&changes, loss, random);
        for (place, change) in kept.iter().enumerate() {
            let is_torn = place + 1 == kept.len() && random.is_in(loss.torn);
            let end = if is_torn { start + random.below((end - start) as u64) as usize } else { end };
            apply_between(change, start, end, &mut content);
        }
    }
    content.truncate(size);
    content
}

/// A length that the file had, when none is sure.
fn any_size(first: usize, pending: &[Pending], random: &mut Random) -> usize {
    let mut sizes = vec![first];
    let mut size = first;
    for change in pending {
        size = match change {
            Pending::Write { offset, data } => cmp::max(size, offset + data.len()),
            Pending::Resize(size) => *size,
        };
        sizes.push(size);
    }
    // The newest is the likeliest.
    if random.is_in(50) { size } else { sizes[random.below(sizes.len() as u64) as usize] }
}

/// The changes of each sector below a size, in order.
fn by_sector(pending: &[Pending], sector: usize, size: usize) -> BTreeMap<usize, Vec<&Pending>> {
    let mut sectors: BTreeMap<usize, Vec<&Pending>> = BTreeMap::new();
    for change in pending {
        let (start, end) = match change {
            Pending::Write { offset, data } => (*offset, cmp::min(offset + data.len(), size)),
            Pending::Resize(to) => (*to, size),
        };
        for number in start / sector..end.div_ceil(sector) {
            sectors.entry(number).or_default().push(change);
        }
    }
    sectors
}

fn any_changes<'a>(changes: &[&'a Pending], loss: &Loss, random: &mut Random) -> Vec<&'a Pending> {
    if loss.is_in_order {
        let all = changes.len();
        let kept = if random.is_in(loss.kept) { all } else { random.below(all as u64) as usize };
        return changes[..kept].to_vec();
    }
    changes.iter().copied().filter(|_| random.is_in(loss.kept)).collect()
}

/// A change, as far as it is between two places.
fn apply_between(change: &Pending, start: usize, end: usize, content: &mut [u8]) {
    match change {
        Pending::Write { offset, data } => {
            let (first, last) = (cmp::max(start, *offset), cmp::min(end, offset + data.len()));
            if first < last {
                content[first..last].copy_from_slice(&data[first - offset..last - offset]);
            }
        }
        Pending::Resize(size) => {
            let first = cmp::max(start, *size);
            if first < end {
                content[first..end].fill(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(offset: usize, byte: u8, length: usize) -> Pending {
        Pending::Write { offset, data: vec![byte; length] }
    }

    fn images(disk: &[u8], pending: &[Pending]) -> Vec<Vec<u8>> {
        let mut random = Random::new(7);
        let image = |_| {
            let loss = Loss::any(512, &mut random);
            settle(disk, pending, &loss, &mut random)
        };
        (0..500).map(image).collect()
    }

    #[test]
    fn what_nobody_wrote_to_stays_as_it_is() {
        let disk: Vec<u8> = (0..4096).map(|place| (place % 251) as u8).collect();
        for image in images(&disk, &[write(1024, 255, 700), write(1100, 254, 10)]) {
            assert_eq!((&image[..1024], &image[1724..]), (&disk[..1024], &disk[1724..]));
            assert!(image[1024..1724].iter().zip(&disk[1024..]).all(|(new, old)| *new >= 254 || new == old));
        }
    }

    #[test]
    fn sectors_are_kept_lost_and_torn() {
        let seen = images(&[0; 1024], &[write(0, 1, 1024)]);
        let count = |sector: &[u8]| sector.iter().map(|byte| usize::from(*byte)).sum::<usize>();
        let has = |wanted: &dyn Fn(usize, usize) -> bool| {
            seen.iter().any(|image| wanted(count(&image[..512]), count(&image[512..])))
        };
        assert!(has(&|first, second| (first, second) == (512, 512)));
        assert!(has(&|first, second| (first, second) == (0, 0)));
        assert!(has(&|first, second| (first, second) == (0, 512)));
        assert!(has(&|first, second| (first, second) == (512, 0)));
        assert!(has(&|first, _| first > 0 && first < 512));
    }

    #[test]
    fn a_sector_may_be_as_it_was_and_later_writes_kept_without_earlier_ones() {
        let seen = images(&[0; 512], &[write(0, 1, 512), write(0, 2, 512), write(100, 3, 1)]);
        for whole in [0, 1, 2] {
            assert!(seen.iter().any(|image| *image == vec![whole; 512]));
        }
        assert!(seen.iter().any(|image| image[100] == 3 && image[99] == 0));
    }

    #[test]
    fn a_file_may_be_longer_without_what_makes_it_so() {
        let seen = images(&[], &[write(0, 1, 600)]);
        assert!(seen.iter().any(Vec::is_empty));
        assert!(seen.iter().any(|image| image.len() == 600 && image.iter().all(|byte| *byte == 0)));
        assert!(seen.iter().any(|image| image.len() == 600 && image.iter().any(|byte| *byte > 1)));
        assert!(seen.iter().any(|image| *image == vec![1; 600]));
    }

    #[test]
    fn a_shortened_file_may_be_long_still() {
        let seen = images(&[9; 1024], &[Pending::Resize(100), Pending::Resize(700)]);
        assert!(seen.iter().any(|image| *image == vec![9; 1024]));
        assert!(seen.iter().any(|image| *image == vec![9; 100]));
        assert!(seen.iter().any(|image| image.len() == 700 && image[100..].iter().all(|byte| *byte == 0)));
    }
}
