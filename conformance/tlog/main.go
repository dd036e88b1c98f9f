// Command tlog checks logs that Vantio published with code that Vantio does not share:
// golang.org/x/mod/sumdb/note and tlog, github.com/transparency-dev/merkle, and
// filippo.io/torchwood.
//
//	go run . FOLDER
//
// FOLDER has the verifier key of the log in the file key, that of a witness in witness, and for
// each of several sizes of the log SIZE/ as it was published, SIZE.json with proofs, and
// SIZE-INDEX.tlog-proof (see crates/vantio-ledger/examples/tlog_folder.rs).
package main

import (
	"fmt"
	"os"
)

// A check is a claim about one published log, with the way to test it.
type check struct {
	name string
	run  func(*published) error
}

var checks = []check{
	{"checkpoint opens with x/mod note", checkpointOpens},
	{"checkpoint satisfies a torchwood policy of log, witness and origin", checkpointSatisfiesPolicy},
	{"files are the tiles that x/mod tlog names", filesAreTiles},
	{"tiles have the root, by x/mod tlog", tilesHaveRoot},
	{"entries hash to the tiles, by torchwood and x/mod tlog", entriesHashToTiles},
	{"entries have the root, by transparency-dev compact ranges", entriesHaveRoot},
	{"entries are fetched and proved over HTTP by torchwood", entriesAreFetched},
	{"inclusion proofs are those of x/mod tlog", inclusionsAreProved},
	{"inclusion proofs verify with transparency-dev", inclusionsVerify},
	{"consistency proofs are those of x/mod tlog", consistenciesAreProved},
	{"consistency proofs verify with transparency-dev", consistenciesVerify},
	{"tlog-proof files verify with torchwood", proofFilesVerify},
	{"a changed or missing file is noticed", changesAreNoticed},
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: tlog FOLDER")
		os.Exit(2)
	}
	logs, err := load(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	passed, failed := 0, 0
	for _, log := range logs {
		for _, check := range checks {
			if err := check.run(log); err != nil {
				failed++
				fmt.Printf("test %d entries: %s ... FAILED\n    %v\n", log.size, check.name, err)
				continue
			}
			passed++
			fmt.Printf("test %d entries: %s ... ok\n", log.size, check.name)
		}
	}
	verdict := "ok"
	if failed > 0 || passed == 0 {
		verdict = "FAILED"
	}
	fmt.Printf("\ntest result: %s. %d passed; %d failed; 0 ignored\n", verdict, passed, failed)
	if verdict != "ok" {
		os.Exit(1)
	}
}
