// Command tlog checks logs that Vantio published with code that Vantio does not share:
// golang.org/x/mod/sumdb/note and tlog, github.com/transparency-dev/merkle, and
// filippo.io/torchwood.
//
//	go run . FOLDER...
//
// A FOLDER has the verifier key of a log in the file key, that of a witness in witness if one
// cosigned, and for each of several sizes of the log SIZE/ as it was published, SIZE.json with
// proofs, and SIZE-INDEX.tlog-proof (see crates/vantio-ledger/examples/tlog_folder).
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
	{"checkpoint satisfies a torchwood policy", checkpointSatisfiesPolicy},
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
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: tlog FOLDER...")
		os.Exit(2)
	}
	var logs []*published
	for _, folder := range os.Args[1:] {
		read, err := load(folder)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", folder, err)
			os.Exit(2)
		}
		logs = append(logs, read...)
	}
	passed, failed := 0, 0
	for _, log := range logs {
		for _, check := range checks {
			if err := check.run(log); err != nil {
				failed++
				fmt.Printf("test %s of %d: %s ... FAILED\n    %v\n", log.name, log.size, check.name, err)
				continue
			}
			passed++
			fmt.Printf("test %s of %d: %s ... ok\n", log.name, log.size, check.name)
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
