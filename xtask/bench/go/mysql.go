package main

import (
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/alexedwards/scs/mysqlstore"
	_ "github.com/go-sql-driver/mysql"
)

// mysqlContenders returns none if there is no server.
func mysqlContenders() []entry {
	server, err := url.Parse(os.Getenv("DATABASE_URL"))
	if err != nil || server.Host == "" {
		return nil
	}
	contender := func(name, parameters string) entry {
		return entry{
			Name:   name,
			Format: "store-mysql",
			// Another program fills it, with the table of store-mysql, which this store can use, so
			// that stores are compared and not tables.
			IsOnServer: true,
			Version:    moduleVersion("github.com/alexedwards/scs/mysqlstore"),
			Engine:     serverVersion(server),
			Settings: "go-sql-driver/mysql " + moduleVersion("github.com/go-sql-driver/mysql") + ", " + parameters +
				", a pool of 10 connections that stay open; the hardened table",
			open: func(o order) (store, error) {
				name := strings.TrimSuffix(filepath.Base(o.Path), filepath.Ext(o.Path))
				db, err := connect(server, strings.ReplaceAll(name, "-", "_"), parameters)
				if err != nil {
					return nil, err
				}
				flush := map[string]int{"full": 1, "normal": 2}[o.Scenario.Durability]
				if _, err := db.Exec(fmt.Sprintf("SET GLOBAL innodb_flush_log_at_trx_commit = %d", flush)); err != nil {
					return nil, err
				}
				return mysqlstore.NewWithCleanupInterval(db, 0), nil
			},
		}
	}
	return []entry{
		contender("go-mysqlstore", "parseTime=true"),
		contender("go-mysqlstore-interpolated", "parseTime=true&interpolateParams=true"),
	}
}

func connect(server *url.URL, database, parameters string) (*sql.DB, error) {
	db, err := sql.Open("mysql", fmt.Sprintf("%s@tcp(%s)/%s?%s", server.User, server.Host, database, parameters))
	if err != nil {
		return nil, err
	}
	// Without a limit, which is the default, it opens and closes connections constantly.
	db.SetMaxOpenConns(10)
	db.SetMaxIdleConns(10)
	return db, nil
}

func serverVersion(server *url.URL) string {
	db, err := connect(server, "", "")
	if err != nil {
		return ""
	}
	defer db.Close()
	var version string
	// If this fails, the measurement fails as well and says why.
	_ = db.QueryRow("SELECT VERSION()").Scan(&version)
	return version
}
