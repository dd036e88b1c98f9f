package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing/fstest"

	"filippo.io/torchwood"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func checkpointOpens(p *published) error {
	data, err := p.files.ReadFile("checkpoint")
	if err != nil {
		return err
	}
	opened, err := note.Open(data, note.VerifierList(p.log))
	if err != nil {
		return err
	}
	checkpoint, err := torchwood.ParseCheckpoint(opened.Text)
	if err != nil {
		return err
	}
	if checkpoint.N != p.size || checkpoint.Origin != p.log.Name() || checkpoint.String() != opened.Text {
		return fmt.Errorf("the checkpoint is %q", opened.Text)
	}
	return nil
}

func checkpointSatisfiesPolicy(p *published) error {
	data, err := p.files.ReadFile("checkpoint")
	if err != nil {
		return err
	}
	_, opened, err := torchwood.VerifyCheckpoint(data, p.policy())
	if err != nil {
		return err
	}
	if p.witness == nil {
		return nil
	}
	for _, signature := range opened.Sigs {
		if signature.Name == p.witness.Name() {
			_, err := torchwood.CosignatureTimestamp(signature)
			return err
		}
	}
	return errors.New("the witness did not sign")
}

func filesAreTiles(p *published) error {
	expected := []string{"checkpoint"}
	for _, tile := range tlog.NewTiles(torchwood.TileHeight, 0, p.size) {
		expected = append(expected, torchwood.TilePath(tile))
		if tile.L == 0 {
			tile.L = -1
			expected = append(expected, torchwood.TilePath(tile))
		}
	}
	slices.Sort(expected)
	if found := slices.Sorted(maps.Keys(p.files)); !slices.Equal(found, expected) {
		return fmt.Errorf("there are %v instead of %v", found, expected)
	}
	return nil
}

func tilesHaveRoot(p *published) error {
	tree, err := p.tree()
	if err != nil {
		return err
	}
	root, err := tlog.TreeHash(tree.N, p.hashes(tree))
	if err != nil {
		return err
	}
	if root != tree.Hash {
		return fmt.Errorf("the root is %v instead of %v", root, tree.Hash)
	}
	// Every tile, also where the root does not need it.
	for _, tile := range tlog.NewTiles(torchwood.TileHeight, 0, tree.N) {
		expected, err := tlog.ReadTileData(tile, p.hashes(tree))
		if err != nil {
			return err
		}
		if data, err := p.files.ReadFile(torchwood.TilePath(tile)); err != nil || !bytes.Equal(data, expected) {
			return fmt.Errorf("%s is another (%v)", torchwood.TilePath(tile), err)
		}
	}
	return nil
}

// entries gives every entry, which torchwood has found to be in the tiles.
func entries(p *published) ([][]byte, error) {
	tree, err := p.tree()
	if err != nil {
		return nil, err
	}
	reader, err := torchwood.NewTileFS(p.files)
	if err != nil {
		return nil, err
	}
	client, err := torchwood.NewClient(reader)
	if err != nil {
		return nil, err
	}
	var all [][]byte
	for index, entry := range client.AllEntries(context.Background(), tree, 0) {
		if index != int64(len(all)) {
			return nil, fmt.Errorf("entry %d came after %d others", index, len(all))
		}
		all = append(all, entry)
	}
	if client.Err() == nil && int64(len(all)) != tree.N {
		return nil, fmt.Errorf("%d entries came of %d", len(all), tree.N)
	}
	return all, client.Err()
}

func entriesHashToTiles(p *published) error {
	all, err := entries(p)
	if err != nil {
		return err
	}
	for first := 0; first < len(all); first += torchwood.TileWidth {
		width := min(torchwood.TileWidth, len(all)-first)
		tile := tlog.Tile{H: torchwood.TileHeight, N: int64(first / torchwood.TileWidth), W: width}
		data, err := p.files.ReadFile(torchwood.TilePath(tile))
		if err != nil {
			return err
		}
		for offset := range width {
			hash := tlog.RecordHash(all[first+offset])
			if !bytes.Equal(hash[:], data[offset*tlog.HashSize:(offset+1)*tlog.HashSize]) {
				return fmt.Errorf("entry %d is another than in its tile", first+offset)
			}
		}
	}
	return nil
}

func entriesHaveRoot(p *published) error {
	tree, err := p.tree()
	if err != nil {
		return err
	}
	all, err := entries(p)
	if err != nil {
		return err
	}
	factory := compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
	whole := factory.NewEmptyRange(0)
	for _, entry := range all {
		if err := whole.Append(rfc6962.DefaultHasher.HashLeaf(entry), nil); err != nil {
			return err
		}
	}
	root, err := whole.GetRootHash(nil)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		root = rfc6962.DefaultHasher.EmptyRoot()
	}
	if !bytes.Equal(root, tree.Hash[:]) {
		return fmt.Errorf("the root is %x instead of %x", root, tree.Hash)
	}
	return nil
}

func entriesAreFetched(p *published) error {
	server := httptest.NewServer(http.FileServerFS(p.files))
	defer server.Close()
	fetcher, err := torchwood.NewTileFetcher(server.URL)
	if err != nil {
		return err
	}
	data, err := fetcher.ReadEndpoint(context.Background(), "checkpoint")
	if err != nil {
		return err
	}
	checkpoint, _, err := torchwood.VerifyCheckpoint(data, p.policy())
	if err != nil {
		return err
	}
	client, err := torchwood.NewClient(fetcher)
	if err != nil {
		return err
	}
	for _, index := range []int64{0, p.size / 2, p.size - 1} {
		if index < 0 || index >= p.size {
			continue
		}
		if _, _, err := client.Entry(context.Background(), checkpoint.Tree, index); err != nil {
			return err
		}
	}
	return nil
}

func inclusionsAreProved(p *published) error {
	tree, err := p.tree()
	if err != nil {
		return err
	}
	hashes := p.hashes(tree)
	for _, ours := range p.proofs.Inclusion {
		theirs, err := tlog.ProveRecord(tree.N, ours.Index, hashes)
		if err != nil {
			return err
		}
		if !slices.Equal(theirs, ours.Hashes) {
			return fmt.Errorf("the proof of entry %d is %v instead of %v", ours.Index, ours.Hashes, theirs)
		}
		leaf, err := leafHash(hashes, ours.Index)
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(ours.Hashes, tree.N, tree.Hash, ours.Index, leaf); err != nil {
			return fmt.Errorf("entry %d: %w", ours.Index, err)
		}
	}
	return some(p, len(p.proofs.Inclusion))
}

func inclusionsVerify(p *published) error {
	tree, err := p.tree()
	if err != nil {
		return err
	}
	hasher := rfc6962.DefaultHasher
	for _, ours := range p.proofs.Inclusion {
		leaf, err := leafHash(p.hashes(tree), ours.Index)
		if err != nil {
			return err
		}
		index, size, hashes := uint64(ours.Index), uint64(tree.N), slices2d(ours.Hashes)
		if err := proof.VerifyInclusion(hasher, index, size, leaf[:], hashes, tree.Hash[:]); err != nil {
			return fmt.Errorf("entry %d: %w", ours.Index, err)
		}
	}
	return some(p, len(p.proofs.Inclusion))
}

func consistenciesAreProved(p *published) error {
	tree, err := p.tree()
	if err != nil {
		return err
	}
	hashes := p.hashes(tree)
	for _, ours := range p.proofs.Consistency {
		theirs, err := tlog.ProveTree(tree.N, ours.Old, hashes)
		if err != nil {
			return err
		}
		if !slices.Equal(theirs, ours.Hashes) {
			return fmt.Errorf("the proof from %d is %v instead of %v", ours.Old, ours.Hashes, theirs)
		}
		if root, err := tlog.TreeHash(ours.Old, hashes); err != nil || root != ours.OldRoot {
			return fmt.Errorf("the root of %d is %v (%v)", ours.Old, root, err)
		}
		if err := tlog.CheckTree(ours.Hashes, tree.N, tree.Hash, ours.Old, ours.OldRoot); err != nil {
			return fmt.Errorf("from %d: %w", ours.Old, err)
		}
	}
	return some(p, len(p.proofs.Consistency))
}

func consistenciesVerify(p *published) error {
	tree, err := p.tree()
	if err != nil {
		return err
	}
	hasher := rfc6962.DefaultHasher
	for _, ours := range p.proofs.Consistency {
		old, size, hashes := uint64(ours.Old), uint64(tree.N), slices2d(ours.Hashes)
		if err := proof.VerifyConsistency(hasher, old, size, hashes, ours.OldRoot[:], tree.Hash[:]); err != nil {
			return fmt.Errorf("from %d: %w", ours.Old, err)
		}
	}
	return some(p, len(p.proofs.Consistency))
}

func proofFilesVerify(p *published) error {
	all, err := entries(p)
	if err != nil {
		return err
	}
	for index, file := range p.proofFiles {
		if err := torchwood.VerifyProof(p.policy(), tlog.RecordHash(all[index]), file); err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
		if err := torchwood.VerifyProof(p.policy(), tlog.RecordHash([]byte("other")), file); err == nil {
			return fmt.Errorf("the proof of entry %d holds for another", index)
		}
	}
	return some(p, len(p.proofFiles))
}

// changesAreNoticed shows that the checks above have teeth: on every file, or where these are
// many on some of them, the checkpoint and the partial ones always.
func changesAreNoticed(p *published) error {
	noticed := func(files fstest.MapFS) bool {
		changed := *p
		changed.files = files
		for _, run := range []func(*published) error{filesAreTiles, tilesHaveRoot, entriesHaveRoot} {
			if run(&changed) != nil {
				return true
			}
		}
		return false
	}
	names := slices.Sorted(maps.Keys(p.files))
	for place, name := range names {
		edge := name == "checkpoint" || strings.Contains(name, ".p/")
		if len(names) > 20 && place%50 != 0 && !edge {
			continue
		}
		files := maps.Clone(p.files)
		delete(files, name)
		if !noticed(files) {
			return fmt.Errorf("nothing noticed that %s is missing", name)
		}
		data := bytes.Clone(p.files[name].Data)
		data[len(data)*2/3] ^= 1
		files[name] = &fstest.MapFile{Data: data, Mode: 0o644}
		if !noticed(files) {
			return fmt.Errorf("nothing noticed a change in %s", name)
		}
	}
	return nil
}

func leafHash(hashes tlog.HashReader, index int64) (tlog.Hash, error) {
	read, err := hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, index)})
	if err != nil {
		return tlog.Hash{}, err
	}
	return read[0], nil
}

// some fails where a log with entries came without proofs.
func some(p *published, count int) error {
	if p.size > 0 && count == 0 {
		return errors.New("there are no proofs")
	}
	return nil
}

func slices2d(hashes []tlog.Hash) [][]byte {
	all := make([][]byte, 0, len(hashes))
	for _, hash := range hashes {
		all = append(all, hash[:])
	}
	return all
}
