module bench

go 1.23

require (
	github.com/alexedwards/scs/sqlite3store v0.0.0-20251002162104-209de6e426de
	github.com/mattn/go-sqlite3 v1.14.52
)
