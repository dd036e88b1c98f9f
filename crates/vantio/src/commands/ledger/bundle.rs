//! `vantio ledger verify BUNDLE`: what was checked, and what could not be.

use std::{path::Path, time::SystemTime};

use vantio_core::Hash;
use vantio_identity::TrustBundle;
use vantio_ledger::{
    bundle::{Bundle, Examined, MetSvid, OpenBundleError, names},
    note::VerifyNoteError,
};
use vantio_policy::PolicyProgram;

use super::check::{keys, read};
use crate::{
    arguments::Verify,
    failure::Failure,
    present::{self, shown, shown_path},
};

/// Verifies a bundle with nothing but its file, and keys from elsewhere.
pub fn verify(arguments: &Verify, json: bool) -> Result<(), Failure> {
    let path = arguments.bundle.as_deref().unwrap_or(Path::new(""));
    let keys = keys(&arguments.key)?;
    let unusable = |error: OpenBundleError| unusable(path, &error);
    let bundle = Bundle::open(path).map_err(unusable)?;
    let examined = bundle.examine(&keys).map_err(unusable)?;
    let mut report = Report::default();
    report.files(&bundle);
    report.entries(&bundle, &examined);
    report.signatures(&examined, !keys.is_empty());
    report.identities(&bundle, &examined, arguments.trust.as_deref())?;
    report.policies(&bundle, &examined).map_err(unusable)?;
    report.rest(&bundle, &examined);
    report.print(json)?;
    match report.failed {
        None => Ok(()),
        Some(Failed { code, text, .. }) => {
            let message = format!("`{}` does not verify: {text}", shown_path(path));
            Err(Failure::unverified(code, message).help("keep the file as evidence"))
        }
    }
}

fn unusable(path: &Path, error: &OpenBundleError) -> Failure {
    let message = format!("`{}` is not a whole bundle", shown_path(path));
    let failure = match error {
        OpenBundleError::Member { .. } => Failure::unverified(error.code(), message),
        _ => Failure::misuse(error.code(), message),
    };
    failure.because(error.to_string()).help(error.help())
}

/// What is said about a bundle, in order.
#[derive(Default)]
struct Report {
    lines: Vec<(Standing, String)>,
    failed: Option<Failed>,
}

#[derive(Clone, Copy)]
enum Standing {
    Checked,
    Unchecked,
    Failed,
}

impl Standing {
    const fn name(self) -> &'static str {
        match self {
            Self::Checked => "checked",
            Self::Unchecked => "not checked",
            Self::Failed => "failed",
        }
    }
}

/// The first thing that does not hold.
struct Failed {
    code: &'static str,
    text: String,
    seq: Option<u64>,
}

impl Report {
    fn checked(&mut self, text: impl Into<String>) {
        self.lines.push((Standing::Checked, text.into()));
    }

    fn unchecked(&mut self, text: impl Into<String>) {
        self.lines.push((Standing::Unchecked, text.into()));
    }

    fn failed(&mut self, code: &'static str, seq: Option<u64>, text: String) {
        self.lines.push((Standing::Failed, text.clone()));
        self.failed.get_or_insert(Failed { code, text, seq });
    }

    fn files(&mut self, bundle: &Bundle) {
        self.checked(format!("files: {}, each the one that MANIFEST lists", bundle.len()));
        for name in bundle.unknown() {
            self.unchecked(format!("file `{}`: this version does not know what it is", shown(name)));
        }
    }

    fn entries(&mut self, bundle: &Bundle, examined: &Examined) {
        let Examined { head, entries, links, .. } = examined;
        let log = shown(head.origin());
        if let Some(broken) = &examined.broken {
            self.checked(format!("entries: {entries} before the one that does not hold"));
            self.failed(broken.code(), broken.seq(), broken.to_string());
            return;
        }
        let Some(run) = bundle.run() else {
            self.checked(format!(
                "chain: {entries} entries, each with its own hash and that of the one before"
            ));
            self.checked(format!(
                "tree: its root over the {entries} entries is that of the checkpoint of `{log}`"
            ));
            return;
        };
        self.checked(format!(
            "chain: {entries} entries of run {run}, each with its own hash; {links} follow one that is here"
        ));
        self.checked(format!(
            "tree: each is in the tree of {} entries that the checkpoint of `{log}` is of",
            head.size()
        ));
        self.unchecked("whether the run has further entries: only a bundle of the whole ledger shows that");
    }

    fn signatures(&mut self, examined: &Examined, has_keys: bool) {
        if has_keys {
            match &examined.given {
                Ok(signers) => signers.iter().for_each(|signer| {
                    let time = signer.moment();
                    let time = time.map_or_else(String::new, |time| format!(" at {time}, by its clock"));
                    self.checked(format!(
                        "signature: the checkpoint is signed{time} by `{}`, whose key you gave",
                        shown(&signer.name)
                    ));
                }),
                Err(error) => self.failed(error.code(), None, format!("the checkpoint: {error}")),
            }
            return;
        }
        match (&examined.own, &examined.key) {
            (Ok(_), Some(key)) => {
                self.checked("signature: the checkpoint is signed by the key in the bundle");
                self.unchecked(format!(
                    "whose key that is: compare it with the log's own, or give that as --key: {}",
                    shown(&key.to_string())
                ));
            }
            (Err(error @ VerifyNoteError::Signature { .. }), _) => {
                self.failed(error.code(), None, format!("the checkpoint: {error}"));
            }
            (_, Some(_)) => self.failed(
                "E_LEDGER_SIGNATURE",
                None,
                "the checkpoint: the key in the bundle did not sign it".into(),
            ),
            (_, None) => {
                self.unchecked("signature: there is no key in the bundle, and none was given as --key");
            }
        }
    }

    fn identities(
        &mut self,
        bundle: &Bundle,
        examined: &Examined,
        trust: Option<&Path>,
    ) -> Result<(), Failure> {
        let Examined { seals, svids, .. } = examined;
        if *seals == 0 {
            return Ok(());
        }
        self.checked(format!("seals: {seals} anomaly records, each signed by the key of the SVID in it"));
        let text = if let Some(path) = trust {
            Some(read(path)?)
        } else {
            let member =
                bundle.member(names::TRUST).map_err(|error| unusable(Path::new(names::TRUST), &error))?;
            member.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        };
        let Some(text) = text else {
            self.unchecked("SVIDs: there is no trust bundle here, and none was given as --trust");
            return Ok(());
        };
        let authority = match TrustBundle::from_pem(&text) {
            Ok(authority) => authority,
            Err(error) => {
                self.failed("E_IDENTITY_UNTRUSTED", None, format!("the trust bundle: {error}"));
                return Ok(());
            }
        };
        let before = self.lines.len();
        for svid in svids {
            self.svid(&authority, svid);
        }
        if self.lines.len() == before {
            let name = shown(&authority.name().to_string());
            self.checked(format!(
                "SVIDs: {}, issued by the trust domain `{name}` and valid at the time of their records",
                svids.len()
            ));
            if trust.is_none() {
                self.unchecked("whose trust domain that is: the bundle's own word for it; give the domain's certificate as --trust");
            }
        }
        Ok(())
    }

    fn svid(&mut self, authority: &TrustBundle, svid: &MetSvid) {
        for (seq, time) in [svid.first, svid.last] {
            let verified = authority.verify(&svid.certificate, SystemTime::from(time));
            let wrong = match verified {
                Ok(id) if id.as_str() == svid.spiffe_id => continue,
                Ok(_) => "it is of another agent".to_owned(),
                Err(error) => error.to_string(),
            };
            let text = format!("entry {seq}: the SVID of `{}`: {wrong}", shown(&svid.spiffe_id));
            return self.failed("E_IDENTITY_UNTRUSTED", Some(seq), text);
        }
    }

    fn policies(&mut self, bundle: &Bundle, examined: &Examined) -> Result<(), OpenBundleError> {
        let mut matching = 0;
        for met in examined.policies.iter().filter(|met| met.hash != Hash::ZERO) {
            let Some(bytes) = bundle.member(&names::policy(met.hash))? else {
                self.unchecked(format!("policy {}: it is not in the bundle", met.hash));
                continue;
            };
            match PolicyProgram::decode(&bytes) {
                Ok(program) if program.hash() == met.hash => matching += 1,
                other => {
                    let wrong = other.map_or_else(
                        |error| error.to_string(),
                        |program| format!("its hash is {}", program.hash()),
                    );
                    self.failed(
                        "E_BUNDLE_POLICY",
                        Some(met.seq),
                        format!("entry {}: the policy {} in the bundle: {wrong}", met.seq, met.hash),
                    );
                }
            }
        }
        if matching > 0 {
            self.checked(format!("policies: {matching}, each with the hash that its entries have"));
        }
        Ok(())
    }

    fn rest(&mut self, bundle: &Bundle, examined: &Examined) {
        if bundle.has_details() {
            self.checked(format!(
                "details: of {} entries; the digests in the entries cover them",
                examined.details
            ));
        } else {
            self.unchecked("details: the bundle has what was asked and answered as salted digests only");
        }
        self.unchecked("proofs of the verdicts: this version makes none");
        for (run, span) in &examined.runs {
            match (span.is_started, span.is_ended) {
                (true, true) => {}
                (false, _) => self.unchecked(format!("run {run}: no entry says that it began")),
                (true, false) => self.unchecked(format!(
                    "run {run}: no entry says that it ended; it went on when the bundle was made, or died"
                )),
            }
        }
    }

    fn print(&self, json: bool) -> Result<(), Failure> {
        if json {
            let line = |(standing, text): &(Standing, String)| serde_json::json!({ "result": standing.name(), "text": text });
            return present::print_json(serde_json::json!({
                "verified": self.failed.is_none(), "checks": self.lines.iter().map(line).collect::<Vec<_>>(),
                "first_bad": self.failed.as_ref().and_then(|failed| failed.seq),
            }));
        }
        let line = |(standing, text): &(Standing, String)| format!("{}: {text}\n", standing.name());
        present::print(self.lines.iter().map(line).collect::<String>())
    }
}
