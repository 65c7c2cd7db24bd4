// SPDX-License-Identifier: Apache-2.0

// A stream as the disk's new host takes it: strictly forwards, each marker held
// against the rules of VMware's "Virtual Disk Format 5.0" (streamOptimized) and
// the narrower ones that its own readers have (formats/vmdk/SPEC.md, "What
// importers demand"). Nothing here knows of diskshift's code.
package main

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"
	"regexp"
	"strings"
)

const (
	sectorBytes   = 512
	tableEntries  = 512
	grainsMax     = 128        // sectors of a grain: more no reader of VMware's takes
	directoryLast = ^uint64(0) // gdOffset: the footer has it
)

// The header of a sparse extent, as the specification draws it.
type sparseHeader struct {
	Magic, Version, Flags            uint32
	Capacity, GrainSize              uint64
	DescriptorOffset, DescriptorSize uint64
	EntriesPerTable                  uint32
	RedundantDirectory, Directory    uint64
	OverHead                         uint64
	UncleanShutdown                  uint8
	EndOfLine                        [4]byte
	CompressAlgorithm                uint16
	Pad                              [433]byte
}

type marker struct {
	Value      uint64
	Size, Type uint32
}

// Of markers with size 0.
const (
	markerEnd = iota
	markerTable
	markerDirectory
	markerFooter
)

type stream struct {
	in     *bufio.Reader
	disk   io.WriterAt
	sector uint64 // the next one
	header sparseHeader

	nextGrain  uint64            // the least that may come
	grains     map[uint64]uint32 // places of grains that no table has named
	tables     map[uint64]uint32 // places of tables by index
	directory  uint64            // its place, 0: not seen
	grainCount uint64
}

func (s *stream) wrong(format string, values ...interface{}) error {
	return fmt.Errorf("sector %d: %s", s.sector, fmt.Sprintf(format, values...))
}

func (s *stream) take(sectors uint64) ([]byte, error) {
	if sectors > 1<<20 {
		return nil, s.wrong("%d sectors at once", sectors)
	}
	piece := make([]byte, sectors*sectorBytes)
	if _, err := io.ReadFull(s.in, piece); err != nil {
		return nil, s.wrong("%d sectors: %v", sectors, err)
	}
	s.sector += sectors
	return piece, nil
}

func zeros(piece []byte) bool {
	return len(bytes.Trim(piece, "\x00")) == 0
}

func decode(piece []byte, record interface{}) {
	if err := binary.Read(bytes.NewReader(piece), binary.LittleEndian,
		record); err != nil {
		panic(err)
	}
}

// -- header and descriptor ---------------------------------------------------

func (s *stream) checkHeader() error {
	h := &s.header
	switch {
	case h.Magic != 0x564d444b:
		return s.wrong("magic %#x", h.Magic)
	case h.Version != 3: // "sparse VMDK version too old"
		return s.wrong("version %d", h.Version)
	case h.Flags != 1|1<<16|1<<17:
		return s.wrong("flags %#x", h.Flags)
	case string(h.EndOfLine[:]) != "\n \r\n":
		return s.wrong("end of line %q", h.EndOfLine)
	case h.Capacity == 0:
		return s.wrong("no capacity")
	case h.GrainSize <= 8 || h.GrainSize > grainsMax ||
		h.GrainSize&(h.GrainSize-1) != 0:
		return s.wrong("grain size %d", h.GrainSize)
	case h.EntriesPerTable != tableEntries:
		return s.wrong("%d entries in a table", h.EntriesPerTable)
	case h.DescriptorOffset == 0 || h.DescriptorSize == 0 ||
		h.DescriptorOffset+h.DescriptorSize > h.OverHead:
		return s.wrong("descriptor at %d, %d sectors, data at %d",
			h.DescriptorOffset, h.DescriptorSize, h.OverHead)
	case h.RedundantDirectory != 0 || h.Directory != directoryLast:
		return s.wrong("directories at %#x, %#x", h.RedundantDirectory,
			h.Directory)
	case h.UncleanShutdown != 0:
		return s.wrong("not shut down cleanly")
	case h.CompressAlgorithm != 1:
		return s.wrong("compression %d", h.CompressAlgorithm)
	case !zeros(h.Pad[:]):
		return s.wrong("something in the padding")
	}
	return nil
}

var descriptorLine = regexp.MustCompile(
	`^(#.*|[A-Za-z.]+ ?= ?("[^"]*"|[0-9a-f]+) ?|(RW|RDONLY) \d+ SPARSE "[^"]+"|)$`)

func (s *stream) checkDescriptor(text string) error {
	values := map[string]string{}
	extents := []string{}
	for _, line := range strings.Split(text, "\n") {
		if !descriptorLine.MatchString(line) {
			return s.wrong("descriptor: %q", line)
		}
		if strings.HasPrefix(line, "R") {
			extents = append(extents, line)
		} else if at := strings.Index(line, "="); at > 0 && line[0] != '#' {
			values[strings.TrimSpace(line[:at])] =
				strings.Trim(line[at+1:], ` "`)
		}
	}
	expected := fmt.Sprintf(`^(RW|RDONLY) %d SPARSE `, s.header.Capacity)
	if len(extents) != 1 ||
		!regexp.MustCompile(expected).MatchString(extents[0]) {
		return s.wrong("descriptor: extents %q", extents)
	}
	for key, pattern := range map[string]string{
		"version": `1`, "CID": `[0-9a-f]{8}`, "parentCID": `ffffffff`,
		"createType":             `streamOptimized`,
		"ddb.adapterType":        `ide|buslogic|lsilogic|legacyESX`,
		"ddb.virtualHWVersion":   `\d+`,
		"ddb.geometry.cylinders": `[1-9]\d*`,
		"ddb.geometry.heads":     `16|255`,
		"ddb.geometry.sectors":   `63`,
	} {
		if !regexp.MustCompile(`^(` + pattern + `)$`).
			MatchString(values[key]) {
			return s.wrong("descriptor: %s is %q", key, values[key])
		}
	}
	if cid := values["CID"]; cid == "ffffffff" || cid == "fffffffe" {
		return s.wrong("descriptor: CID %s has a meaning", cid)
	}
	return nil
}

func (s *stream) readHead() error {
	piece, err := s.take(1)
	if err != nil {
		return err
	}
	decode(piece, &s.header)
	if err := s.checkHeader(); err != nil {
		return err
	}
	head, err := s.take(s.header.OverHead - 1)
	if err != nil {
		return err
	}
	from := (s.header.DescriptorOffset - 1) * sectorBytes
	end := from + s.header.DescriptorSize*sectorBytes
	text := bytes.TrimRight(head[from:end], "\x00")
	if !zeros(head[:from]) || !zeros(head[end:]) ||
		bytes.IndexByte(text, 0) >= 0 {
		return s.wrong("something beside the descriptor")
	}
	return s.checkDescriptor(string(text))
}

// -- what follows, marker by marker -------------------------------------------

func (s *stream) readGrain(first []byte, m marker) error {
	h := &s.header
	place := s.sector - 1
	grain := m.Value / h.GrainSize
	switch {
	case m.Value%h.GrainSize != 0 || m.Value >= h.Capacity:
		return s.wrong("grain of %d", m.Value)
	case grain < s.nextGrain:
		return s.wrong("grain %d, expected %d or later", grain, s.nextGrain)
	case uint64(m.Size) > (h.GrainSize+1)*sectorBytes-12:
		return s.wrong("grain %d: %d bytes", grain, m.Size)
	}
	for other := range s.grains {
		if other/tableEntries != grain/tableEntries {
			return s.wrong("grain %d, without the table of %d", grain, other)
		}
		break
	}
	rest, err := s.take((uint64(m.Size)+12+sectorBytes-1)/sectorBytes - 1)
	if err != nil {
		return err
	}
	whole := append(first, rest...)
	if !zeros(whole[12+m.Size:]) {
		return s.wrong("grain %d: something behind it", grain)
	}
	if err := s.inflate(grain, whole[12:12+m.Size]); err != nil {
		return s.wrong("grain %d: %v", grain, err)
	}
	s.grains[grain] = uint32(place)
	s.nextGrain = grain + 1
	s.grainCount++
	return nil
}

func (s *stream) inflate(grain uint64, stored []byte) error {
	from := bytes.NewReader(stored)
	inflater, err := zlib.NewReader(from)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(inflater)
	if err != nil {
		return err
	}
	size := s.header.GrainSize * sectorBytes
	visible := (s.header.Capacity - grain*s.header.GrainSize) * sectorBytes
	if visible > size {
		visible = size
	}
	if from.Len() != 0 || uint64(len(data)) > size ||
		uint64(len(data)) < visible {
		return fmt.Errorf("%d bytes, and %d left", len(data), from.Len())
	}
	if !zeros(data[visible:]) {
		return fmt.Errorf("something beyond the disk's end")
	}
	_, err = s.disk.WriteAt(data[:visible], int64(grain*size))
	return err
}

func words(piece []byte) []uint32 {
	list := make([]uint32, len(piece)/4)
	decode(piece, list)
	return list
}

// A table comes behind its grains and names them all, and nothing else.
func (s *stream) readTable(m marker) error {
	place := s.sector
	piece, err := s.take(m.Value)
	if err != nil {
		return err
	}
	if m.Value != tableEntries*4/sectorBytes || len(s.grains) == 0 {
		return s.wrong("table of %d sectors for %d grains", m.Value,
			len(s.grains))
	}
	table := (s.nextGrain - 1) / tableEntries
	for i, entry := range words(piece) {
		if entry != s.grains[table*tableEntries+uint64(i)] {
			return s.wrong("table %d: entry %d is %d, expected %d", table, i,
				entry, s.grains[table*tableEntries+uint64(i)])
		}
	}
	s.tables[table] = uint32(place)
	s.grains = map[uint64]uint32{}
	return nil
}

func (s *stream) readDirectory(m marker) error {
	grains := (s.header.Capacity + s.header.GrainSize - 1) / s.header.GrainSize
	tables := (grains + tableEntries - 1) / tableEntries
	if len(s.grains) != 0 || s.directory != 0 ||
		m.Value != (tables*4+sectorBytes-1)/sectorBytes {
		return s.wrong("directory of %d sectors for %d tables, %d grains left",
			m.Value, tables, len(s.grains))
	}
	s.directory = s.sector
	piece, err := s.take(m.Value)
	if err != nil {
		return err
	}
	for i, entry := range words(piece) {
		if entry != s.tables[uint64(i)] {
			return s.wrong("directory: entry %d is %d, expected %d", i, entry,
				s.tables[uint64(i)])
		}
	}
	return nil
}

// The footer takes precedence: but for the directory it says what the header
// does. Behind it stands the end, behind which nothing does.
func (s *stream) readFooter(m marker) error {
	if s.directory == 0 || m.Value != 1 {
		return s.wrong("footer of %d sectors, directory at %d", m.Value,
			s.directory)
	}
	piece, err := s.take(1)
	if err != nil {
		return err
	}
	var footer sparseHeader
	decode(piece, &footer)
	expected := s.header
	expected.Directory = s.directory
	if footer != expected {
		return s.wrong("footer: %+v, expected %+v", footer, expected)
	}
	end, err := s.take(1)
	if err != nil {
		return err
	}
	if !zeros(end) {
		return s.wrong("no end of the stream")
	}
	if _, err := s.in.ReadByte(); err != io.EOF {
		return s.wrong("something behind the end")
	}
	return nil
}

// readStream writes the guest's bytes to disk and returns how many there are.
func readStream(in io.Reader, disk io.WriterAt) (int64, error) {
	s := &stream{in: bufio.NewReaderSize(in, 1<<16), disk: disk,
		grains: map[uint64]uint32{}, tables: map[uint64]uint32{}}
	if err := s.readHead(); err != nil {
		return 0, err
	}
	for {
		var m marker
		first, err := s.take(1)
		if err != nil {
			return 0, err
		}
		decode(first[:16], &m)
		switch {
		case m.Size != 0:
			err = s.readGrain(first, m)
		case !zeros(first[16:]):
			err = s.wrong("something behind a marker of type %d", m.Type)
		case m.Type == markerTable:
			err = s.readTable(m)
		case m.Type == markerDirectory:
			err = s.readDirectory(m)
		case m.Type == markerFooter:
			return int64(s.header.Capacity) * sectorBytes, s.readFooter(m)
		case m.Type == markerEnd:
			err = s.wrong("the end, without a footer")
		default:
			err = s.wrong("marker of type %d", m.Type)
		}
		if err != nil {
			return 0, err
		}
	}
}
