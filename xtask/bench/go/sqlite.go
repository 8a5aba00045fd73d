package main

import (
	"database/sql"
	"fmt"
	"runtime/debug"

	"github.com/alexedwards/scs/sqlite3store"
	"github.com/mattn/go-sqlite3"
)

func sqliteContenders() []entry {
	version, _, _ := sqlite3.Version()
	return []entry{{
		Name:    "go-sqlite3store",
		Format:  "classic-sqlite",
		Version: moduleVersion("github.com/alexedwards/scs/sqlite3store"),
		Engine:  "SQLite " + version,
		Settings: "mattn/go-sqlite3 " + moduleVersion("github.com/mattn/go-sqlite3") +
			", WAL, the durability of the scenario, a pool of 8 connections that stay open",
		open: func(o order) (store, error) {
			db, err := sql.Open("sqlite3", fmt.Sprintf(
				"file:%s?_journal_mode=WAL&_synchronous=%s&_busy_timeout=20000", o.Path, o.Scenario.Durability))
			if err != nil {
				return nil, err
			}
			// Without a limit, which is the default, it opens and closes connections constantly.
			db.SetMaxOpenConns(8)
			db.SetMaxIdleConns(8)
			return sqlite3store.NewWithCleanupInterval(db, 0), nil
		},
	}}
}

func moduleVersion(path string) string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == path {
			return module.Version
		}
	}
	return "unknown"
}
