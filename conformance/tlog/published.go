package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing/fstest"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A published log, all of it in memory.
type published struct {
	name       string
	size       int64
	files      fstest.MapFS
	log        note.Verifier
	witness    note.Verifier // nil where none cosigned
	proofs     proofs
	proofFiles map[int64][]byte
}

// Proofs that Vantio made.
type proofs struct {
	Inclusion []struct {
		Index  int64       `json:"index"`
		Hashes []tlog.Hash `json:"hashes"`
	} `json:"inclusion"`
	Consistency []struct {
		Old     int64       `json:"old"`
		OldRoot tlog.Hash   `json:"old_root"`
		Hashes  []tlog.Hash `json:"hashes"`
	} `json:"consistency"`
}

// load reads every log of a folder, the smallest first.
func load(folder string) ([]*published, error) {
	key, err := os.ReadFile(filepath.Join(folder, "key"))
	if err != nil {
		return nil, err
	}
	log, err := note.NewVerifier(strings.TrimSpace(string(key)))
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	witness, err := loadWitness(folder)
	if err != nil {
		return nil, fmt.Errorf("witness: %w", err)
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var logs []*published
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		size, err := strconv.ParseInt(entry.Name(), 10, 64)
		if err != nil {
			return nil, err
		}
		log := &published{name: filepath.Base(folder), size: size, log: log, witness: witness}
		if err := log.read(folder); err != nil {
			return nil, fmt.Errorf("%d entries: %w", size, err)
		}
		logs = append(logs, log)
	}
	if len(logs) == 0 {
		return nil, errors.New("the folder has no logs")
	}
	slices.SortFunc(logs, func(a, b *published) int { return int(a.size - b.size) })
	return logs, nil
}

func loadWitness(folder string) (note.Verifier, error) {
	key, err := os.ReadFile(filepath.Join(folder, "witness"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return torchwood.NewCosignatureVerifier(strings.TrimSpace(string(key)))
}

func (p *published) read(folder string) error {
	name := filepath.Join(folder, strconv.FormatInt(p.size, 10))
	p.files = fstest.MapFS{}
	root := os.DirFS(name)
	err := fs.WalkDir(root, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(root, path)
		p.files[path] = &fstest.MapFile{Data: data, Mode: 0o644}
		return err
	})
	if err != nil {
		return err
	}
	data, err := os.ReadFile(name + ".json")
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &p.proofs); err != nil {
		return err
	}
	proofFiles, err := filepath.Glob(name + "-*.tlog-proof")
	if err != nil {
		return err
	}
	p.proofFiles = map[int64][]byte{}
	for _, path := range proofFiles {
		index, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimPrefix(path, name+"-"), ".tlog-proof"), 10, 64)
		if err != nil {
			return err
		}
		if p.proofFiles[index], err = os.ReadFile(path); err != nil {
			return err
		}
	}
	return nil
}

// policy asks for the log, the origin that it signs for, and its witness if it has one.
func (p *published) policy() torchwood.Policy {
	all := []torchwood.Policy{torchwood.SingleVerifierPolicy(p.log), torchwood.OriginPolicy(p.log.Name())}
	if p.witness != nil {
		all = append(all, torchwood.SingleVerifierPolicy(p.witness))
	}
	return torchwood.ThresholdPolicy(len(all), all...)
}

// tree is what the checkpoint says, once its signatures have verified.
func (p *published) tree() (tlog.Tree, error) {
	data, err := p.files.ReadFile("checkpoint")
	if err != nil {
		return tlog.Tree{}, err
	}
	checkpoint, _, err := torchwood.VerifyCheckpoint(data, p.policy())
	return checkpoint.Tree, err
}

// hashes reads authenticated hashes of the tree from the tiles.
func (p *published) hashes(tree tlog.Tree) tlog.HashReader {
	return tlog.TileHashReader(tree, tileReader{p.files})
}

// tileReader gives x/mod tlog the files that it asks for.
type tileReader struct{ files fs.FS }

func (tileReader) Height() int                     { return torchwood.TileHeight }
func (tileReader) SaveTiles([]tlog.Tile, [][]byte) {}

func (r tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		data, err := fs.ReadFile(r.files, torchwood.TilePath(tile))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}
