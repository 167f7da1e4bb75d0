package journal_test
var children = map[string]func(string){}
