package journal

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// What quickFacts accepts, decode accepts too, and both read the same.
func FuzzQuickFacts(f *testing.F) {
	for _, body := range []string{
		`{}`, `{"by":"U1","room":"live-42","until":1767225600000000}`, `{"call":1,"effect":"done","code":0,"took_us":132}`,
		`{"outcome":"closed","why":"closed"}`, `{"people":3,"until":1}`, `{"room":"a\\"b"}`, `{"Room":"x"}`, `{"room":"x","room":"y"}`,
		`{"others":[1,2]}`, `{"code":null}`, `{"code":1e2}`, `{"code":01}`, `{"code":-0}`, `{"late":true}`, `{"by":1}`, `{"call":"1"}`, `{"until":99999999999999999999}`,
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		quick, ok := quickFacts(body)
		if !ok {
			return
		}
		whole, err := decode(body)
		if !assert.NoError(t, err, "%q", body) {
			return
		}
		kept := Facts{By: whole.By, Room: whole.Room, Channel: whole.Channel, TS: whole.TS, Effect: whole.Effect, Outcome: whole.Outcome,
			Until: whole.Until, AgainOf: whole.AgainOf, Call: whole.Call, Code: whole.Code}
		assert.Equal(t, kept, quick, "%q", body)
	})
}
