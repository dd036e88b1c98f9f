//! `vantio ledger export`

use std::{
    io::{self, BufWriter, Write as _},
    path::Path,
};

use vantio_ledger::{ExportError, Reader};

use crate::{
    failure::Failure,
    present::{self, shown_path},
};

pub fn export(reader: &Reader, output: Option<&Path>) -> Result<(), Failure> {
    let Some(path) = output else {
        return match reader.export(&mut BufWriter::new(io::stdout().lock())) {
            Err(ExportError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other.map(drop).map_err(unexported),
        };
    };
    let failed = |cause: io::Error| {
        let message = format!("`{}` cannot be written", shown_path(path));
        Failure::new("E_OUTPUT", message).because(cause).help("name a file in a folder that you may write in")
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    let count = reader.export(&mut BufWriter::new(&mut temporary)).map_err(unexported)?;
    temporary.flush().and_then(|()| temporary.as_file().sync_all()).map_err(failed)?;
    temporary.persist(path).map_err(|error| failed(error.error))?;
    present::note(format!("{count} entries written to {}\n", shown_path(path)));
    Ok(())
}

fn unexported(error: ExportError) -> Failure {
    match error {
        ExportError::Ledger(error) => error.into(),
        ExportError::Write(cause) => Failure::new("E_OUTPUT", "the export cannot be written").because(cause),
    }
}
