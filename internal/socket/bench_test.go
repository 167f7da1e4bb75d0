package socket

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// BenchmarkAck measures what this package adds to an answer: from the frame's
// having been read to the acknowledgement's having been written, and the round
// trip as a server on loopback sees it. The server's work is in the times, and
// its allocations in the count.
func BenchmarkAck(b *testing.B) {
	for _, bench := range []struct {
		name    string
		payload any
		flight  int // envelopes under way at once
	}{
		{"bare", nil, 1},
		{"response", map[string]string{"response_type": "ephemeral", "text": "#1042 recorded, the card follows"}, 1},
		{"bare, 32 at once", nil, 32},
	} {
		b.Run(bench.name, func(b *testing.B) {
			servers := make(chan *websocket.Conn, 1)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var up websocket.Upgrader
				ws, err := up.Upgrade(w, r, nil)
				if err != nil {
					return
				}
				servers <- ws
			}))
			defer server.Close()
			inside := make(chan time.Duration, bench.flight)
			s := New(Config{
				Connections: 1,
				Open:        func(context.Context) (string, error) { return "ws" + server.URL[len("http"):], nil },
				Handle: func(ctx context.Context, e *Envelope) {
					if err := e.Ack(bench.payload); err != nil {
						b.Error(err)
					}
					inside <- time.Since(e.Received)
				},
				Log: slog.New(slog.DiscardHandler),
			})
			ctx, cancel := context.WithCancel(b.Context())
			done := make(chan struct{})
			go func() { defer close(done); s.Run(ctx) }()
			ws := <-servers
			defer ws.Close()
			if err := ws.WriteMessage(websocket.TextMessage, []byte(hello(1))); err != nil {
				b.Fatal(err)
			}
			frame := []byte(command("0b4a5f0e-3b0f-4f43-9d57-2f1d9a1c7e10"))
			send := func() {
				if err := ws.WriteMessage(websocket.TextMessage, frame); err != nil {
					b.Fatal(err)
				}
			}
			var took []time.Duration
			for range bench.flight - 1 {
				send()
			}
			b.ReportAllocs()
			for b.Loop() {
				send()
				_, r, err := ws.NextReader()
				if err != nil {
					b.Fatal(err)
				}
				io.Copy(io.Discard, r)
				took = append(took, <-inside)
			}
			slices.Sort(took)
			for _, p := range []int{50, 99} {
				b.ReportMetric(float64(took[len(took)*p/100].Nanoseconds())/1e3, fmt.Sprintf("p%d-µs", p))
			}
			for range bench.flight - 1 {
				ws.NextReader()
				<-inside
			}
			cancel()
			go ws.NextReader() // answers the close frame
			<-done
		})
	}
}
