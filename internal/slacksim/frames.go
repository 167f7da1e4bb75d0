package slacksim

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// The WebSocket library does the handshake; frames are read by hand (RFC 6455, section 5.2), because a strict server
// must see what a library politely hides: fragments, sizes, what follows a close frame, what a pong carried.

const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
)

const (
	closeNormal        = 1000
	closeProtocolError = 1002
	closeTooBig        = 1009
)

// maxFrame is Socket Mode's limit: a frame of this many bytes or more is not taken.
const maxFrame = 20 << 10

type frame struct {
	final   bool
	op      byte
	payload []byte // nil if the frame was too big
	tooBig  bool
}

var errUnmasked = errors.New("client frame is not masked")

// readFrame reads one frame sent by a client. The payload of one that is too big is skipped.
func readFrame(r *bufio.Reader) (frame, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, err
	}
	f := frame{final: head[0]&0x80 != 0, op: head[0] & 0x0f}
	size := uint64(head[1] & 0x7f)
	var ext [8]byte
	switch size {
	case 126:
		if _, err := io.ReadFull(r, ext[:2]); err != nil {
			return f, err
		}
		size = uint64(binary.BigEndian.Uint16(ext[:]))
	case 127:
		if _, err := io.ReadFull(r, ext[:]); err != nil {
			return f, err
		}
		size = binary.BigEndian.Uint64(ext[:])
	}
	if head[1]&0x80 == 0 {
		return f, errUnmasked
	}
	var mask [4]byte
	if _, err := io.ReadFull(r, mask[:]); err != nil {
		return f, err
	}
	if size >= maxFrame {
		f.tooBig = true
		_, err := io.CopyN(io.Discard, r, int64(min(size, 64<<20)))
		return f, err
	}
	f.payload = make([]byte, size)
	if _, err := io.ReadFull(r, f.payload); err != nil {
		return f, err
	}
	for i := range f.payload {
		f.payload[i] ^= mask[i%4]
	}
	return f, nil
}

// appendFrame appends one unfragmented server frame.
func appendFrame(b []byte, op byte, payload []byte) []byte {
	b = append(b, 0x80|op)
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	case n <= 0xffff:
		b = append(b, 126)
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b = append(b, 127)
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return append(b, payload...)
}

func closePayload(code uint16, reason string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, code), reason...)
}
