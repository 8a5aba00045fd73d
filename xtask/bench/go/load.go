package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// store is what the Go stores have in common.
type store interface {
	Find(token string) ([]byte, bool, error)
	Commit(token string, data []byte, expiry time.Time) error
	Delete(token string) error
}

// random is SplitMix64, as in the other programs.
type random uint64

func newRandom(seed uint64) random { return random(seed * 0x9e3779b97f4a7c15) }

func (r *random) draw() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

func token(key uint64) string {
	r := newRandom(key + 1)
	var token [43]byte
	var word uint64
	for i := range token {
		if i%10 == 0 {
			word = r.draw()
		}
		token[i] = alphabet[word&63]
		word >>= 6
	}
	return string(token[:])
}

type load struct {
	done, inTime int
	latencies    []time.Duration
	err          error
}

func measure(s store, o order) (measurement, error) {
	if _, _, err := s.Find(token(0)); err != nil {
		return measurement{}, err
	}
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
	idle, _, writtenBefore := process()

	loads := make([]load, o.Scenario.Threads)
	var threads sync.WaitGroup
	for i := range loads {
		threads.Add(1)
		go func() {
			defer threads.Done()
			loads[i].run(s, o, uint64(i))
		}()
	}
	threads.Wait()

	_, peak, written := process()
	seconds := time.Duration(o.Millis) * time.Millisecond
	m := measurement{Seconds: seconds.Seconds(), IdleKiB: idle, PeakKiB: peak}
	var latencies []time.Duration
	done := 0
	for _, l := range loads {
		if l.err != nil {
			return m, l.err
		}
		m.Operations += l.inTime
		done += l.done
		latencies = append(latencies, l.latencies...)
	}
	slices.Sort(latencies)
	if count := len(latencies); count > 0 {
		us := func(i int) float64 { return float64(latencies[i].Nanoseconds()) / 1e3 }
		m.P50, m.P99, m.Max = us(count/2), us(count*99/100), us(count-1)
	}
	m.WrittenPerOperation = float64(written-writtenBefore) / float64(max(done, 1))
	return m, nil
}

func (l *load) run(s store, o order, thread uint64) {
	measuredFrom := time.Now().Add(time.Duration(o.WarmUpMillis) * time.Millisecond)
	until := measuredFrom.Add(time.Duration(o.Millis) * time.Millisecond)
	r := newRandom(0x5eed + thread)
	nextOwn := thread
	drawOwn := func() uint64 {
		key := nextOwn
		nextOwn += uint64(o.Scenario.Threads)
		return key
	}
	data := make([]byte, (o.Scenario.DataLen+7)/8*8)
	content := newRandom(thread)
	for i := 0; i < len(data); i += 8 {
		binary.LittleEndian.PutUint64(data[i:], content.draw())
	}
	data = data[:o.Scenario.DataLen]
	rows := o.Scenario.Rows

	for turn := 1; ; turn++ {
		operation := o.Scenario.Operation
		if operation == "mix" {
			operation = "find_hit"
			if turn%10 == 0 {
				operation = "commit_update"
			}
		}
		var key uint64
		switch {
		case operation == "commit_new":
			key = rows + drawOwn()
		case operation == "delete", operation == "login":
			key = drawOwn()
		case operation == "find_miss":
			key = rows + r.draw()%rows
		case o.Scenario.HalfExpired:
			key = r.draw() % (rows / 2) * 2
		default:
			key = r.draw() % rows
		}
		token, newToken := token(key), token(1<<40+key)

		began := time.Now()
		if !began.Before(until) {
			return
		}
		isRight := true
		switch operation {
		case "find_hit", "find_miss":
			var found []byte
			var isFound bool
			found, isFound, l.err = s.Find(token)
			isRight = isFound == (operation == "find_hit") && (!isFound || len(found) == o.Scenario.DataLen)
		case "commit_new", "commit_update":
			l.err = s.Commit(token, data, time.Now().Add(24*time.Hour))
		case "delete":
			l.err = s.Delete(token)
		case "login":
			// What RenewToken and the end of the request do; the Go stores keep no users.
			if l.err = s.Delete(token); l.err == nil {
				l.err = s.Commit(newToken, data, time.Now().Add(24*time.Hour))
			}
		default:
			l.err = fmt.Errorf("the Go stores can't %s", operation)
		}
		ended := time.Now()
		if l.err == nil && !isRight {
			l.err = fmt.Errorf("%s returned a wrong result", operation)
		}
		if l.err != nil {
			return
		}
		l.done++
		if !began.Before(measuredFrom) {
			l.latencies = append(l.latencies, ended.Sub(began))
			if !ended.After(until) {
				l.inTime++
			}
		}
	}
}

// process returns resident memory, its peak, and the bytes written to disk.
func process() (resident, peak, written uint64) {
	field := func(path, name string) uint64 {
		text, _ := os.ReadFile(path)
		for _, line := range strings.Split(string(text), "\n") {
			if rest, ok := strings.CutPrefix(line, name); ok {
				number, _ := strconv.ParseUint(strings.Fields(rest)[0], 10, 64)
				return number
			}
		}
		return 0
	}
	return field("/proc/self/status", "VmRSS:"), field("/proc/self/status", "VmHWM:"), field("/proc/self/io", "write_bytes:")
}
