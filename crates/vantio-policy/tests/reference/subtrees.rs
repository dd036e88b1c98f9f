//! Folders that are moved and removed, against every name below them.

use vantio_core::{Access, Effect, Section};
use vantio_policy::decide;

use crate::{
    dice::Dice,
    evaluator::{
        Policy, World,
        guards::Guards,
        paths::{self, Name, Part},
    },
    generator,
    question::{Aim, Question},
};

/// Names that are tried below a folder; the last is one that no pattern mentions.
const NAMES: [&[u8]; 7] = [b"a", b"b", b"ab", b"w", b".e", b"*", b"zz"];
const CASES: u64 = 3_000;

/// A policy whose lists of files are random.
struct Files {
    policy: Policy,
    world: World,
    deny: Vec<Vec<Part>>,
    write: Vec<Vec<Part>>,
}

impl Files {
    fn new(dice: &mut Dice, writes_all: bool) -> Self {
        let mut policy = Policy { mode: "enforce", guards: Guards::default(), ..generator::policy(dice) };
        policy.rules.retain(|(section, _)| matches!(section, Section::FsWrite | Section::FsDeny));
        if writes_all {
            policy.rules.push((Section::FsWrite, "/".to_owned()));
        }
        let world = World { is_killed: false, is_foreign: false, ..generator::world(dice) };
        let of = |own| {
            let texts = policy.rules.iter().filter(|(section, _)| *section == own);
            texts
                .flat_map(|(_, text)| paths::readings(text, &world.bindings))
                .map(|pattern| pattern.parts)
                .collect()
        };
        let (deny, write) = (of(Section::FsDeny), of(Section::FsWrite));
        Self { policy, world, deny, write }
    }

    fn permits(&self, effect: Effect, aim: Aim) -> bool {
        let (program, state) = self.world.build(&self.policy);
        let question = Question { effect, aim, context: vantio_core::Context::default() };
        decide(&program, &state, &question.intent()).is_permit()
    }

    fn denies(&self, path: &[Name<'_>]) -> bool {
        self.deny.iter().any(|pattern| paths::covers(pattern, path, true))
    }

    fn writes(&self, path: &[Name<'_>]) -> bool {
        self.write.iter().any(|pattern| paths::covers(pattern, path, false))
    }
}

/// Every sequence of at most `depth` names.
fn names_below(depth: usize) -> Vec<Vec<Name<'static>>> {
    let mut all = vec![Vec::new()];
    let mut last = all.clone();
    for _ in 0..depth {
        last = last
            .iter()
            .flat_map(|names| NAMES.map(|name| [names.as_slice(), &[Some(name)]].concat()))
            .collect();
        all.extend(last.clone());
    }
    all
}

fn folder(dice: &mut Dice) -> Vec<u8> {
    let names = dice.some(1, 3, |dice| dice.pick(&NAMES));
    [b"/", names.join(&b'/').as_slice()].concat()
}

#[test]
fn moving_a_folder_moves_no_deny_and_needs_write_on_all_of_it() {
    let below = names_below(3);
    let mut moved = 0;
    for seed in 0..CASES {
        let mut dice = Dice::new(seed);
        let files = Files::new(&mut dice, seed % 3 != 0);
        let (from, to) = (folder(&mut dice), folder(&mut dice));
        let aim = Aim::Paths { from: from.clone(), to: to.clone(), subtree: true };
        if !files.permits(Effect::FsRename, aim) {
            continue;
        }
        moved += 1;
        for names in &below {
            let old = [paths::names(&from).unwrap().as_slice(), names].concat();
            let new = [paths::names(&to).unwrap().as_slice(), names].concat();
            assert_eq!(files.denies(&old), files.denies(&new), "{:?} {old:?} {new:?}", files.policy);
            assert!(files.denies(&old) || files.writes(&old), "{:?} {old:?}", files.policy);
            assert!(files.denies(&new) || files.writes(&new), "{:?} {new:?}", files.policy);
        }
    }
    assert!(moved > CASES / 10, "{moved} folders were moved");
}

#[test]
fn a_folder_is_removed_unless_its_name_matters_to_a_deny() {
    let below = names_below(3);
    let (mut removed, mut kept) = (0, 0);
    for seed in 0..CASES / 3 {
        let mut dice = Dice::new(seed);
        let files = Files::new(&mut dice, true);
        let path = folder(&mut dice);
        let here = paths::names(&path).unwrap();
        let elsewhere = [&here[..here.len() - 1], &[Some(&b"zz"[..])]].concat();
        let differs = below.iter().any(|names| {
            files.denies(&[here.as_slice(), names].concat())
                != files.denies(&[elsewhere.as_slice(), names].concat())
        });
        let aim = Aim::Path { path: path.clone(), access: Access::Write, subtree: true };
        let is_permitted = files.permits(Effect::FsRmdir, aim);
        assert!(!is_permitted || !differs && !files.denies(&here), "{:?} {here:?}", files.policy);
        // Where a wildcard makes two ways of matching cover the same names, a removal
        // may be refused that need not be; so it may where two rules do.
        let is_plain =
            files.deny.len() < 2 && files.deny.iter().flatten().all(|part| !matches!(part, Part::Glob(_)));
        assert!(!is_plain || is_permitted || differs || files.denies(&here), "{:?} {here:?}", files.policy);
        *if is_permitted { &mut removed } else { &mut kept } += 1;
    }
    assert!(removed > CASES / 20 && kept > CASES / 20, "{removed} were removed, {kept} were not");
}
