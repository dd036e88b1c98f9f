//! An overlay of the root for peers that have none of their own, and what `try` does to commit one.

use std::{ffi::CString, fs, os::unix::process::CommandExt as _, path::Path, process::Command};

use rustix::mount::{MountFlags, mount, mount_bind_recursive};

use crate::failure::{AtPath, Failure};

/// Mounts an overlay of `/`, then executes `program`. The caller has made a mount namespace.
pub fn mount_and_execute(directory: &Path, program: &[String]) -> Result<(), Failure> {
    let merged = directory.join("merged");
    fs::create_dir_all(&merged).at(&merged)?;
    // The kernel refuses an overlay of the whole root to an ordinary user.
    if overlay(Path::new("/"), &directory.join("root"), &merged, "index=off").is_err() {
        mount("tmpfs", &merged, "tmpfs", MountFlags::empty(), None).map_err(Into::into).at(&merged)?;
        for entry in fs::read_dir("/").at("/")? {
            let entry = entry.at("/")?;
            overlay_entry(&entry.path(), &directory.join("layers"), &merged)?;
        }
    }
    let error = Command::new(&program[0]).args(&program[1..]).exec();
    Err(Failure::Start { program: program[0].clone(), source: error })
}

/// Shows one entry of the root in `merged`: a folder as an overlay, or where the kernel refuses that, as it is.
fn overlay_entry(path: &Path, layers: &Path, merged: &Path) -> Result<(), Failure> {
    let name = path.file_name().unwrap_or_default();
    let target = merged.join(name);
    if path.is_symlink() {
        let leads = fs::read_link(path).at(path)?;
        return std::os::unix::fs::symlink(leads, &target).at(&target);
    }
    if !path.is_dir() {
        return Ok(());
    }
    fs::create_dir(&target).at(&target)?;
    let is_own = ["dev", "proc", "tmp"].iter().any(|own| name == *own);
    if !is_own && overlay(path, &layers.join(name), &target, "userxattr").is_err() {
        mount_bind_recursive(path, &target).map_err(Into::into).at(&target)?;
    }
    Ok(())
}

/// Mounts an overlay of `lower` at `target`, its layers in `directory`.
fn overlay(lower: &Path, directory: &Path, target: &Path, options: &str) -> Result<(), Failure> {
    let [upper, work] = ["upper", "work"].map(|name| directory.join(name));
    for directory in [&upper, &work] {
        fs::create_dir_all(directory).at(directory)?;
    }
    let [lower, upper, work] = [lower, &upper, &work].map(Path::display);
    let layers = format!("lowerdir={lower},upperdir={upper},workdir={work},{options}");
    let layers = CString::new(layers).map_err(Into::into).at(directory)?;
    mount("overlay", target, "overlay", MountFlags::empty(), layers.as_c_str()).map_err(Into::into).at(target)
}

/// The commit of a shell script that walks an upper layer with public commands: what is changed is removed on
/// the host and moved there, file by file. `$1` is the upper layer, `$2` the folder that it lies over.
pub const COMMIT_BY_SHELL: &str = r#"cd "$1" && find . -mindepth 1 | while IFS= read -r entry; do
    target="$2/$entry"
    if [ -d "$entry" ]; then [ -d "$target" ] || mkdir "$target"
    elif [ -c "$entry" ]; then rm -rf "$target"
    else rm -rf "$target"; mv "$entry" "$target"
    fi
done"#;
