//! What cannot be told from a name and a text: the functions that the table
//! names.

use rustix::fd::AsFd as _;

use super::{
    super::{ChangeKind, FileType, Node, beneath, content::Dense, node::foreign_overlay_attributes},
    MOST_SYMLINKS, Subject,
    places::Places,
    read,
    root::components,
    says,
    table::{PROGRAM_FOLDERS, SOURCE_ENDINGS, SOURCE_NAMES},
    text::{self, Manner},
};
use crate::changes::Change;

/// A document of a policy, or a folder of one that is moved or replaced.
pub(super) fn is_policy(subject: &Subject<'_>) -> bool {
    let places = &subject.look.places;
    let kind = subject.change.kind;
    if subject.node.is_dir() && matches!(kind, ChangeKind::Added | ChangeKind::Metadata) {
        return false;
    }
    places.is_policy(subject.path)
        || (kind != ChangeKind::Added && kind != ChangeKind::Metadata
            || subject.node.file_type == FileType::Symlink)
            && (places.holds_policy(subject.path) || places.holds_policy(subject.change.host_path()))
}

/// The same for what is gone.
pub(super) fn removes_policy(places: &Places, change: &Change) -> bool {
    places.is_policy(&change.path) || places.holds_policy(&change.path)
}

/// A file that is changed where it is, while other names of it are not the run's.
pub(super) fn changes_other_names(subject: &Subject<'_>) -> bool {
    subject.look.shared.changes_others(subject.change)
}

pub(super) fn is_set_id(subject: &Subject<'_>) -> bool {
    // On a directory, setgid passes a group on and runs nothing.
    subject.node.file_type == FileType::File && subject.node.mode & 0o6000 != 0
}

pub(super) fn has_capabilities(subject: &Subject<'_>) -> bool {
    subject.node.xattrs.contains_key(&b"security.capability"[..])
}

pub(super) fn is_device(subject: &Subject<'_>) -> bool {
    matches!(subject.node.file_type, FileType::Character | FileType::Block)
}

pub(super) fn is_socket(subject: &Subject<'_>) -> bool {
    subject.node.file_type == FileType::Socket
}

pub(super) fn has_overlay_attributes(subject: &Subject<'_>) -> bool {
    let (Ok((upper, path)), Some(layer)) =
        (subject.look.sides.upper(subject.change), subject.look.sides.layer(subject.change))
    else {
        return false;
    };
    let found = upper
        .parent(path)
        .and_then(|(dir, name)| foreign_overlay_attributes(dir.as_fd(), name, layer.layer.kind));
    found.unwrap_or(true)
}

/// A symlink whose target is not certainly below the workspace.
pub(super) fn leaves_workspace(subject: &Subject<'_>) -> bool {
    // It says where it leads from its own place; not from another name of that.
    leads_out_of_workspace(&subject.look.places, &subject.change.path, subject.node)
}

/// The same for one that is, or will be, at `path`.
pub(super) fn leads_out_of_workspace(places: &Places, path: &[u8], node: &Node) -> bool {
    let Some(target) = &node.target else { return false };
    let mut steps = MOST_SYMLINKS;
    leads_out(places, path, target, &mut steps)
}

fn leads_out(places: &Places, path: &[u8], target: &[u8], steps: &mut u32) -> bool {
    let Some(left) = steps.checked_sub(1) else { return true };
    *steps = left;
    let mut place: Vec<&[u8]> = Vec::new();
    if !target.starts_with(b"/") {
        place.extend(components(path));
        place.pop();
    }
    let mut has_gone_down = false;
    for component in components(target) {
        if component != b".." {
            has_gone_down = true;
            place.push(component);
        } else if has_gone_down {
            // What went down through a symlink goes up elsewhere.
            return true;
        } else {
            place.pop();
        }
    }
    let workspace: Vec<_> = components(&places.workspace).collect();
    if !place.starts_with(&workspace) {
        return true;
    }
    // A symlink of the host on the way may lead out.
    (workspace.len() + 1..=place.len()).any(|length| {
        let at: Vec<u8> = place[..length].iter().flat_map(|name| [b"/", *name].concat()).collect();
        at != path && places.symlink(&at).is_some_and(|target| leads_out(places, &at, &target, steps))
    })
}

/// Anything executable in a folder of PATH, a symlink in the place of such a
/// folder, and what is called like a program of PATH in a folder that people
/// put before it.
pub(super) fn shadows_program(subject: &Subject<'_>) -> bool {
    let node = subject.node;
    let places = &subject.look.places;
    let is_program_folder_name =
        |name: Option<&String>| name.is_some_and(|name| PROGRAM_FOLDERS.contains(&name.as_str()));
    let can_run = match node.file_type {
        FileType::File => node.mode & 0o111 != 0,
        // Whatever is in the other folder is found from now on.
        FileType::Symlink
            if places.leads_to_programs(subject.path) || is_program_folder_name(subject.names.last()) =>
        {
            return true;
        }
        FileType::Symlink => true,
        _ => false,
    };
    if !can_run {
        return false;
    }
    let (folder, name) = beneath::split(subject.path);
    let above = subject.names.len().checked_sub(2).and_then(|index| subject.names.get(index));
    let is_likely = folder == places.workspace || is_program_folder_name(above);
    places.is_program_folder(folder) || is_likely && places.has_program(name)
}

pub(super) fn has_deceptive_name(subject: &Subject<'_>) -> bool {
    let (_, name) = beneath::split(&subject.change.path);
    let name = String::from_utf8_lossy(name);
    name.chars().any(|character| character.is_control() || character == '\u{2800}')
        || text::hides(&name, false)
}

/// New lines with characters that hide.
pub(super) fn has_hidden_text(subject: &Subject<'_>) -> bool {
    let (change, node, sides) = (subject.change, subject.node, subject.look.sides);
    let is_text = node.file_type == FileType::File
        && matches!(change.kind, ChangeKind::Added | ChangeKind::Modified | ChangeKind::Retyped);
    if !is_text {
        return false;
    }
    let Ok(mut file) = sides.run_file(change, node) else { return true };
    let Ok(manner) = manner(subject, &mut file) else { return true };
    let Ok(now) = text::lines(Dense::new(file), manner) else { return true };
    if now.is_empty() {
        return false;
    }
    let before = change.before.as_ref().filter(|before| before.file_type == FileType::File);
    let then = before.and_then(|before| sides.host_file(change.host_path(), before).ok());
    let then = then.and_then(|file| text::lines(Dense::new(file), manner).ok()).unwrap_or_default();
    now.has_more_than(&then)
}

fn manner(subject: &Subject<'_>, file: &mut std::fs::File) -> std::io::Result<Manner> {
    use std::io::{Read as _, Seek as _};
    let name = subject.names.last().map_or("", String::as_str);
    let ending = name.rsplit_once('.').map(|(_, ending)| ending);
    if ending.map_or_else(|| SOURCE_NAMES.contains(&name), |ending| SOURCE_ENDINGS.contains(&ending)) {
        return Ok(Manner::Source);
    }
    let mut start = Vec::new();
    (&mut *file).take(2).read_to_end(&mut start)?;
    file.rewind()?;
    Ok(if start == b"#!" { Manner::Source } else { Manner::Other })
}

/// A file `config` beside a `HEAD`: git takes the folder for a repository.
pub(super) fn is_loose_git_config(subject: &Subject<'_>) -> bool {
    let (folder, _) = beneath::split(subject.path);
    let head = [folder, b"/HEAD"].concat();
    let has_head = subject
        .look
        .set
        .get(&head)
        .map_or_else(|| subject.look.sides.is_on_host(&head), |change| change.after.is_some());
    if !has_head {
        return false;
    }
    let after = subject.look.sides.run_file(subject.change, subject.node).and_then(read);
    let before = subject.change.before.as_ref().map_or(Ok(Vec::new()), |before| {
        subject.look.sides.host_file(subject.change.host_path(), before).and_then(read)
    });
    match (after, before) {
        (Ok(after), Ok(before)) => says::changes_git_config(&after, &before).unwrap_or(true),
        _ => true,
    }
}
