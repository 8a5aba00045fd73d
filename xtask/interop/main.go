// The Go side of `cargo xtask interop`: SCS and its store for the driver of the
// first argument, on the database that the second one names as Go programs do,
// swept at the interval of the third one. Each line of its input is a request in
// JSON; it answers many at a time, a line each.
package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"log"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"time"

	"github.com/alexedwards/scs/mysqlstore"
	"github.com/alexedwards/scs/sqlite3store"
	"github.com/alexedwards/scs/v2"
	"github.com/go-sql-driver/mysql"
	_ "github.com/mattn/go-sqlite3"
)

type request struct {
	ID     uint64
	Op     string
	Token  string
	Data   []byte
	Expiry time.Time
	// For the op "serve":
	Hashed  bool
	Cookie  string
	Handler string
}

type reply struct {
	ID     uint64
	Error  string
	Found  bool
	Data   []byte
	All    map[string][]byte
	Rows   int
	Expiry string
	Day    uint64 // The bits of the Julian day that SQLite stores.
	// From the op "serve", as the request came in:
	Values    map[string]any
	Deadline  time.Time
	SetCookie string
}

func main() {
	log.SetOutput(withoutDeadlocks{})
	driver := os.Args[1]
	db, err := sql.Open(driver, os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	interval, err := time.ParseDuration(os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	side := side{driver: driver, db: db}
	switch driver {
	case "mysql":
		side.store = mysqlstore.NewWithCleanupInterval(db, interval)
	case "sqlite3":
		side.store = sqlite3store.NewWithCleanupInterval(db, interval)
	}

	var output sync.Mutex
	replies := json.NewEncoder(os.Stdout)
	requests := json.NewDecoder(os.Stdin)
	for {
		var request request
		if requests.Decode(&request) != nil {
			return
		}
		go func() {
			reply, err := side.answer(request)
			// The server has undone what it answers so, and Go's store leaves it
			// to the application to do it again.
			for isDeadlock(err) {
				reply, err = side.answer(request)
			}
			if err != nil {
				reply.Error = err.Error()
			}
			reply.ID = request.ID
			output.Lock()
			defer output.Unlock()
			if err := replies.Encode(reply); err != nil {
				log.Fatal(err)
			}
		}()
	}
}

type side struct {
	driver string
	db     *sql.DB
	store  interface {
		scs.Store
		scs.IterableStore
	}
}

func isDeadlock(err error) bool {
	var failure *mysql.MySQLError
	return errors.As(err, &failure) && failure.Number == 1213
}

func (s side) answer(r request) (reply reply, err error) {
	switch r.Op {
	case "find":
		reply.Data, reply.Found, err = s.store.Find(r.Token)
	case "commit":
		err = s.store.Commit(r.Token, r.Data, r.Expiry)
	case "delete":
		err = s.store.Delete(r.Token)
	case "all":
		reply.All, err = s.store.All()
	case "rows":
		err = s.db.QueryRow("SELECT count(*) FROM sessions").Scan(&reply.Rows)
	case "expiry":
		err = s.expiry(r.Token, &reply)
	case "serve":
		reply, err = s.serve(r)
	case "go on":
		goOn <- struct{}{}
	default:
		err = errors.New("no such op")
	}
	return reply, err
}

// withoutDeadlocks is a log in which Go's store doesn't say of each sweep that
// others were in its way: the next one comes.
type withoutDeadlocks struct{}

func (withoutDeadlocks) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("Error 1213 (40001)")) {
		return len(line), nil
	}
	return os.Stderr.Write(line)
}

// expiry is what Go programs read in the table.
func (s side) expiry(token string, reply *reply) (err error) {
	if s.driver == "mysql" {
		var expiry time.Time
		err = s.db.QueryRow("SELECT expiry FROM sessions WHERE token = ?", token).Scan(&expiry)
		reply.Expiry = expiry.Format(time.RFC3339Nano)
		return err
	}
	var day float64
	err = s.db.QueryRow(
		"SELECT strftime('%Y-%m-%dT%H:%M:%fZ', expiry), expiry FROM sessions WHERE token = $1", token,
	).Scan(&reply.Expiry, &day)
	reply.Day = math.Float64bits(day)
	return err
}

// goOn wakes a handler that waits.
var goOn = make(chan struct{})

// serve is a web application that answers one HTTP request.
func (s side) serve(r request) (reply reply, err error) {
	sessions := scs.New()
	sessions.Store = s.store
	sessions.Codec = JSONCodec{}
	sessions.HashTokenInStore = r.Hashed
	sessions.Cookie.Name = "__Host-session"
	sessions.Cookie.Secure = true
	sessions.Cookie.Persist = false
	sessions.ErrorFunc = func(_ http.ResponseWriter, _ *http.Request, failure error) { err = failure }

	application := sessions.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, get *http.Request) {
		ctx := get.Context()
		reply.Deadline = sessions.Deadline(ctx)
		reply.Values = map[string]any{}
		for _, key := range sessions.Keys(ctx) {
			reply.Values[key] = sessions.Get(ctx, key)
		}
		err = handle(ctx, sessions, r.Handler)
	}))
	get := httptest.NewRequest("GET", "/", nil)
	get.Header.Set("Cookie", r.Cookie)
	response := httptest.NewRecorder()
	application.ServeHTTP(response, get)
	reply.SetCookie = response.Header().Get("Set-Cookie")
	return reply, err
}

func handle(ctx context.Context, sessions *scs.SessionManager, name string) error {
	switch name {
	case "look":
	case "put":
		sessions.Put(ctx, "go int", 42)
		sessions.Put(ctx, "go float", 2.5)
		sessions.Put(ctx, "go text", "Grüße\x00 <b>&\"\u2028")
		sessions.Put(ctx, "go bytes", []byte{0, 255})
		sessions.Put(ctx, "go time", time.Date(2026, 11, 21, 15, 30, 0, 123456000, time.UTC))
		sessions.Put(ctx, "go list", []string{"a", "b"})
		sessions.Put(ctx, "go nothing", nil)
		sessions.RememberMe(ctx, true)
	case "count":
		visits, err := Int(sessions.Get(ctx, "visits"))
		if err != nil {
			return err
		}
		sessions.Put(ctx, "visits", visits+1)
	case "flash":
		if sessions.PopString(ctx, "__flash.to Go") != "Saved." {
			return errors.New("no flash value")
		}
		sessions.Put(ctx, "__flash.to Rust", "Sent.")
	case "slow":
		<-goOn // The session is loaded.
		sessions.Put(ctx, "slow", true)
		<-goOn
	case "renew":
		return sessions.RenewToken(ctx)
	case "destroy":
		return sessions.Destroy(ctx)
	default:
		return errors.New("no such handler")
	}
	return nil
}
