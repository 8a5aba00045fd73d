// The Go stores as contenders, with the arguments of the other programs: list or
// measure, and an order in JSON.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
)

type scenario struct {
	Operation   string `json:"operation"`
	Threads     int    `json:"threads"`
	Rows        uint64 `json:"rows"`
	DataLen     int    `json:"data_len"`
	Durability  string `json:"durability"`
	HalfExpired bool   `json:"half_expired"`
	Swept       bool   `json:"swept"`
}

type order struct {
	Contender    string   `json:"contender"`
	Scenario     scenario `json:"scenario"`
	Path         string   `json:"path"`
	WarmUpMillis int64    `json:"warm_up_millis"`
	Millis       int64    `json:"millis"`
}

type measurement struct {
	Operations          int     `json:"operations"`
	Seconds             float64 `json:"seconds"`
	P50                 float64 `json:"p50_us"`
	P99                 float64 `json:"p99_us"`
	Max                 float64 `json:"max_us"`
	IdleKiB             uint64  `json:"idle_kib"`
	PeakKiB             uint64  `json:"peak_kib"`
	WrittenPerOperation float64 `json:"written_per_operation"`
}

// entry describes a contender.
type entry struct {
	Name       string `json:"name"`
	Format     string `json:"format"`
	Version    string `json:"version"`
	Engine     string `json:"engine"`
	Settings   string `json:"settings"`
	IsOnServer bool   `json:"is_on_server"`
	open       func(order) (store, error)
}

func main() {
	log.SetFlags(0)
	contenders := append(sqliteContenders(), mysqlContenders()...)
	if len(os.Args) == 2 && os.Args[1] == "list" {
		print(contenders)
		return
	}
	if len(os.Args) != 3 || os.Args[1] != "measure" {
		log.Fatal("list, or measure and an order; another program fills the database")
	}
	var o order
	if err := json.Unmarshal([]byte(os.Args[2]), &o); err != nil {
		log.Fatal(err)
	}
	for _, contender := range contenders {
		if contender.Name == o.Contender {
			store, err := contender.open(o)
			if err != nil {
				log.Fatal(err)
			}
			result, err := measure(store, o)
			if err != nil {
				log.Fatal(err)
			}
			print(result)
			return
		}
	}
	log.Fatal("there is no such contender")
}

func print(value any) {
	line, err := json.Marshal(value)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(line))
}
