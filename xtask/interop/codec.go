package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// JSONCodec is an scs.Codec that reads and writes the sessions of session-manager.
type JSONCodec struct{}

type jsonSession struct {
	V        int            `json:"v"`
	Deadline time.Time      `json:"deadline"`
	Values   map[string]any `json:"values"`
}

func (JSONCodec) Encode(deadline time.Time, values map[string]any) ([]byte, error) {
	return json.Marshal(jsonSession{1, deadline.UTC().Truncate(time.Microsecond), values})
}

func (JSONCodec) Decode(data []byte) (time.Time, map[string]any, error) {
	var session jsonSession
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber() // A float64 would change whole numbers above 2^53.
	err := decoder.Decode(&session)
	if err == nil && (session.V != 1 || session.Values == nil) {
		err = errors.New("not a session of version 1")
	}
	return session.Deadline, session.Values, err
}

// Int is the whole number that sessions.Get gave: an int in the request that
// put it there, a json.Number in later ones.
func Int(value any) (int64, error) {
	return strconv.ParseInt(fmt.Sprint(value), 10, 64)
}
