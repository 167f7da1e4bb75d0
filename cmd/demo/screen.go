package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"
)

const screenWidth = 108 // columns; longer lines are broken

// screen prints what happens, indented by whose words it is.
type screen struct {
	w     io.Writer
	color bool
}

// newScreen uses colours on a terminal only, and not if NO_COLOR asks for none.
func newScreen(w io.Writer, environ []string) *screen {
	wanted := !slices.Contains(environ, "TERM=dumb") && !slices.ContainsFunc(environ, func(v string) bool {
		return strings.HasPrefix(v, "NO_COLOR=") && v != "NO_COLOR="
	})
	return &screen{w, wanted && isTerminal(w)}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// style is how a line looks on a terminal.
type style string

const (
	plain style = ""
	bold  style = "1"
	dim   style = "2"
	red   style = "31"
	green style = "32"
	cyan  style = "36"
)

func (s *screen) paint(st style, text string) string {
	if !s.color || st == plain {
		return text
	}
	return "\x1b[" + string(st) + "m" + text + "\x1b[0m"
}

// print prints text with first before its first line and rest before the others, breaking
// long lines.
func (s *screen) print(st style, first, rest, text string) {
	prefix := first
	for _, line := range strings.Split(text, "\n") {
		for line != "" || prefix != "" {
			var head string
			head, line = breakLine(line, screenWidth-utf8.RuneCountInString(prefix))
			fmt.Fprintln(s.w, s.paint(st, strings.TrimRight(prefix+head, " ")))
			prefix = rest
			if line == "" {
				break
			}
		}
	}
}

// breakLine cuts line before the last word that does not fit into width columns.
func breakLine(line string, width int) (head, rest string) {
	if utf8.RuneCountInString(line) <= width {
		return line, ""
	}
	runes := []rune(line)
	for i := width; i > 0; i-- {
		if runes[i] == ' ' {
			return string(runes[:i]), strings.TrimLeft(string(runes[i:]), " ")
		}
	}
	return string(runes[:width]), string(runes[width:])
}

// heading begins a scene, or another part.
func (s *screen) heading(title, about string) {
	fmt.Fprintln(s.w)
	s.print(bold, "", "", title)
	if about != "" {
		s.print(plain, "", "", about)
	}
	fmt.Fprintln(s.w)
}

// act says what a person does.
func (s *screen) act(format string, args ...any) {
	s.print(cyan, "  ", "  ", fmt.Sprintf(format, args...))
}

// note says what happens elsewhere.
func (s *screen) note(format string, args ...any) {
	s.print(dim, "  ", "  ", fmt.Sprintf(format, args...))
}

// zego says what happens in ZEGO's rooms.
func (s *screen) zego(format string, args ...any) {
	s.print(dim, "  ZEGO: ", "        ", fmt.Sprintf(format, args...))
}

// private shows words that one person alone sees.
func (s *screen) private(name, text string) {
	s.print(dim, "  ", "  ", "only "+name+" sees")
	s.print(plain, "  ┊ ", "  ┊ ", text)
}

// message shows a message of the channel.
func (s *screen) message(where, text string) {
	s.print(dim, "  ", "  ", where)
	s.print(plain, "  │ ", "  │ ", text)
}

// reply shows a message in the thread of the one before.
func (s *screen) reply(text string) { s.print(plain, "  │    ↳ ", "  │      ", text) }
