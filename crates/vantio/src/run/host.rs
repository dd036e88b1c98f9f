//! What this host gives a run: folders, programs, symbolic links, addresses, name servers.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    ffi::{OsStr, OsString},
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::PermissionsExt as _,
    },
    path::{Path, PathBuf},
};

use rustix::fs::{Access, AtFlags, Mode, OFlags, accessat, open};
use vantio_policy::{Bindings, PolicyProgram};

use crate::{failure::Failure, present::shown_path};

/// The user's home folder, canonical.
pub fn home() -> Result<PathBuf, Failure> {
    let failed = |message: &str| Failure::new("E_HOME", message).help("set HOME to your home folder");
    let home =
        env::var_os("HOME").filter(|home| !home.is_empty()).ok_or_else(|| failed("HOME is not set"))?;
    let home = PathBuf::from(home);
    if !home.is_absolute() {
        return Err(failed("HOME is not an absolute path"));
    }
    home.canonicalize().map_err(|cause| {
        failed(&format!("the home folder `{}` cannot be used", shown_path(&home))).because(cause)
    })
}

/// Whether a folder of this host is called so.
pub fn is_directory(path: &[u8]) -> bool {
    fs::metadata(OsStr::from_bytes(path)).is_ok_and(|metadata| metadata.is_dir())
}

/// What the variables and names of `program` stand for. `path` is the run's `PATH`.
pub fn bindings(
    program: &PolicyProgram,
    workspace: &Path,
    home: &Path,
    path: Option<&OsStr>,
) -> Result<Bindings, Failure> {
    let mut bindings = bindings_by_text(program, workspace, home, path)?;
    bindings.aliases = aliases(&program.literal_prefixes(&bindings));
    Ok(bindings)
}

/// [`bindings`] without symbolic links: the disk is asked for nothing but what `path` has.
pub fn bindings_by_text(
    program: &PolicyProgram,
    workspace: &Path,
    home: &Path,
    path: Option<&OsStr>,
) -> Result<Bindings, Failure> {
    Ok(Bindings {
        workspace: workspace.as_os_str().as_bytes().to_vec(),
        home: home.as_os_str().as_bytes().to_vec(),
        tmp: b"/tmp".to_vec(),
        programs: programs(program, path),
        host_addresses: addresses()?,
        aliases: Vec::new(),
    })
}

/// Every symbolic link on the way to one of `prefixes`, and where it leads.
fn aliases(prefixes: &[Vec<u8>]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let resolve = |link: &[u8]| {
        let target = Path::new(OsStr::from_bytes(link)).canonicalize().ok()?;
        Some((link.to_vec(), target.into_os_string().into_vec()))
    };
    links(prefixes).into_iter().filter_map(resolve).collect()
}

/// The symbolic links on the way to each of `paths`, which are sorted. What two that follow each other have in common is
/// looked at once.
fn links(paths: &[Vec<u8>]) -> BTreeSet<&[u8]> {
    let mut links = BTreeSet::new();
    let (mut before, mut absent): (&[u8], Option<&[u8]>) = (b"", None);
    for path in paths {
        let common = path.iter().zip(before).take_while(|(one, other)| one == other).count();
        before = path;
        let ends = path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        let ends = ends.chain([path.len()]);
        // A component that only begins alike is another.
        for way in ends.skip_while(|end| *end < common).map(|end| &path[..end]) {
            if absent.is_some_and(|absent| is_at_or_below(way, absent)) {
                break;
            }
            match fs::symlink_metadata(OsStr::from_bytes(way)) {
                Ok(metadata) if metadata.is_symlink() => drop(links.insert(way)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => absent = Some(way),
                _ => {}
            }
        }
    }
    links
}

fn is_at_or_below(path: &[u8], folder: &[u8]) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
}

/// Those of `paths` that exist, canonical, sorted, each once.
pub fn existing(paths: &[Vec<u8>]) -> Vec<PathBuf> {
    let mut by_folder: BTreeMap<&[u8], Vec<&[u8]>> = BTreeMap::new();
    for path in paths {
        let slash = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        by_folder.entry(&path[..=slash]).or_default().push(path);
    }
    let mut found = Vec::new();
    for (folder, paths) in by_folder {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // Of a folder that is not there nothing is; a name is looked up faster in one that is.
        let Ok(opened) = open(OsStr::from_bytes(folder), flags, Mode::empty()) else { continue };
        let exists = |name: &[u8]| {
            name.is_empty() || accessat(&opened, name, Access::EXISTS, AtFlags::empty()).is_ok()
        };
        let there = paths.into_iter().filter(|path| exists(&path[folder.len()..]));
        found.extend(there.filter_map(|path| Path::new(OsStr::from_bytes(path)).canonicalize().ok()));
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// What `path` has for each bare name of the policy: the entry found first, and where it
/// leads when it is a symbolic link.
fn programs(program: &PolicyProgram, path: Option<&OsStr>) -> Vec<(String, Vec<Vec<u8>>)> {
    let folders = search_folders(path);
    let names: BTreeSet<&str> = program.bare_programs().collect();
    names.into_iter().map(|name| (name.to_owned(), find_program(name, &folders))).collect()
}

/// What a bare name means in the `PATH` of this process.
pub fn find_in_path(name: &str) -> Option<Vec<u8>> {
    find_in(name, env::var_os("PATH").as_deref()).into_iter().next()
}

/// What a bare name means in `path`: the entry found first, and where it leads.
pub fn find_in(name: &str, path: Option<&OsStr>) -> Vec<Vec<u8>> {
    find_program(name, &search_folders(path))
}

fn search_folders(path: Option<&OsStr>) -> Vec<PathBuf> {
    let folders = env::split_paths(path.unwrap_or(OsStr::new(DEFAULT_PATH)));
    folders.filter(|folder| folder.is_absolute()).collect()
}

fn find_program(name: &str, folders: &[PathBuf]) -> Vec<Vec<u8>> {
    let Some(found) = folders.iter().map(|folder| folder.join(name)).find(|path| is_program(path)) else {
        return Vec::new();
    };
    let mut paths = BTreeSet::new();
    paths.extend(found.canonicalize().ok());
    // The entry itself, where its folder is reached through symbolic links.
    let folder = found.parent().and_then(|folder| folder.canonicalize().ok());
    paths.extend(folder.map(|folder| folder.join(name)));
    paths.into_iter().map(|path| path.into_os_string().into_vec()).collect()
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// The addresses of this host's interfaces.
fn addresses() -> Result<Vec<IpAddr>, Failure> {
    let failed = |cause: io::Error| {
        Failure::new("E_HOST_ADDRESSES", "the addresses of this host cannot be read")
            .because(cause)
            .help("Vantio reads /proc/net/fib_trie and /proc/net/if_inet6 to keep runs away from this host's own services; mount /proc")
    };
    let read = |path| match fs::read_to_string(path) {
        // The kernel has no such family.
        Err(error) if error.kind() == io::ErrorKind::NotFound && Path::new("/proc/net/dev").exists() => {
            Ok(String::new())
        }
        other => other,
    };
    let mut addresses = parse_fib_trie(&read("/proc/net/fib_trie").map_err(failed)?);
    addresses.extend(parse_if_inet6(&read("/proc/net/if_inet6").map_err(failed)?));
    Ok(addresses.into_iter().collect())
}

/// The IPv4 addresses that a routing trie calls local.
fn parse_fib_trie(text: &str) -> BTreeSet<IpAddr> {
    let mut addresses = BTreeSet::new();
    let mut leaf = None;
    for line in text.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL" {
            addresses.extend(leaf.map(IpAddr::V4));
        }
    }
    addresses
}

fn parse_if_inet6(text: &str) -> impl Iterator<Item = IpAddr> {
    let first = |line: &str| u128::from_str_radix(line.split_whitespace().next()?, 16).ok();
    text.lines().filter_map(first).map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits)))
}

/// The name servers of a run: `VANTIO_DNS`, else those of `/etc/resolv.conf`.
pub fn resolvers() -> Result<Vec<SocketAddr>, Failure> {
    match env::var_os("VANTIO_DNS").filter(|list| !list.is_empty()) {
        Some(list) => parse_list(&list),
        None => Ok(parse_resolv_conf(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default())),
    }
}

fn parse_list(list: &OsString) -> Result<Vec<SocketAddr>, Failure> {
    let wrong = || {
        Failure::misuse("E_DNS", "VANTIO_DNS is not a list of name servers")
            .help("write IP or IP:PORT, separated by commas: VANTIO_DNS=10.0.0.53,[fd00::53]:5353")
    };
    let text = list.to_str().ok_or_else(wrong)?;
    text.split(',').map(|server| parse_server(server.trim()).ok_or_else(wrong)).collect()
}

fn parse_server(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    text.parse().ok().or_else(|| bare.parse().ok().map(|address: IpAddr| SocketAddr::new(address, DNS_PORT)))
}

/// `resolv.conf(5)`: without a name server, the one on this machine is asked.
fn parse_resolv_conf(text: &str) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()).flatten().and_then(parse_server)
    };
    let servers: Vec<SocketAddr> = text.lines().filter_map(server).collect();
    if servers.is_empty() { vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), DNS_PORT)] } else { servers }
}

const DNS_PORT: u16 = 53;

/// What `execvp(3)` searches when `PATH` is not set, without the current folder.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_addresses_are_told_from_networks_and_broadcasts() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n\
            Local:\n     |-- 10.0.0.0\n        /24 link UNICAST\n     |-- 10.0.0.7\n        /32 host LOCAL\n\
             |-- 10.0.0.255\n        /32 link BROADCAST\n     |-- 127.0.0.1\n        /32 host LOCAL\n";
        let expected: [IpAddr; 2] = [[10, 0, 0, 7].into(), [127, 0, 0, 1].into()];
        assert_eq!(parse_fib_trie(trie).into_iter().collect::<Vec<_>>(), expected);
        let inet6 = "fe80000000000000020c29fffe5c4d3e 02 40 20 80     eth0\nnonsense\n";
        let expected: Vec<IpAddr> = vec!["fe80::20c:29ff:fe5c:4d3e".parse().unwrap()];
        assert_eq!(parse_if_inet6(inet6).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn name_servers_are_read_as_people_write_them() {
        let list = |text: &str| parse_list(&text.into()).map_err(|failure| failure.to_string());
        let servers = ["10.0.0.53:53", "127.0.0.1:5353", "[fd00::53]:53", "[fd00::53]:5353"];
        let expected: Vec<SocketAddr> = servers.iter().map(|server| server.parse().unwrap()).collect();
        assert_eq!(list("10.0.0.53, 127.0.0.1:5353,fd00::53,[fd00::53]:5353").unwrap(), expected);
        assert!(list("10.0.0.53,dns.example").is_err());

        let conf = "# nameserver 1.1.1.1\nsearch x\nnameserver 10.0.0.53\nnameserver\tfd00::53 # home\nnameserver x\n";
        assert_eq!(parse_resolv_conf(conf), [expected[0], expected[2]]);
        assert_eq!(parse_resolv_conf(""), ["127.0.0.1:53".parse().unwrap()]);
    }

    #[test]
    fn links_on_the_way_are_found_with_where_they_lead() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("real/sub")).unwrap();
        std::os::unix::fs::symlink("real", root.join("link")).unwrap();
        let bytes = |path: PathBuf| path.into_os_string().into_vec();
        std::os::unix::fs::symlink("../real", root.join("real/sub-link")).unwrap();
        let names = [
            "link-none/x",
            "link/sub/none",
            "link/sub/none/x",
            "none/x",
            "none/y",
            "real",
            "real/sub-link",
            "real/sub/x",
        ];
        let found = aliases(&names.map(|name| bytes(root.join(name))));
        let expected = [("link", "real"), ("real/sub-link", "real")];
        assert_eq!(found, expected.map(|(from, to)| (bytes(root.join(from)), bytes(root.join(to)))));
    }

    #[test]
    fn what_exists_is_found_by_the_name_that_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("real/sub")).unwrap();
        fs::write(root.join("file"), "").unwrap();
        std::os::unix::fs::symlink("real", root.join("link")).unwrap();
        let bytes = |name: &str| root.join(name).into_os_string().into_vec();
        let names = ["real", "link/sub", "real/sub", "file", "file/x", "none", "none/x", "real/none"];
        let found = existing(&names.map(bytes));
        assert_eq!(found, ["file", "real", "real/sub"].map(|name| root.join(name)));
        assert_eq!(existing(&[b"/".to_vec()]), [PathBuf::from("/")]);
    }
}
