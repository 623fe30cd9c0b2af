package model

// Exec runs SQL as nobody else may: to see what the database itself refuses.
func (tx *Tx) Exec(sql string, args ...any) error { return tx.db.Exec(sql, args...).Error }

// Rows runs a query and answers its rows as text.
func (tx *Tx) Rows(sql string, args ...any) ([][]string, error) {
	rows, err := tx.db.Raw(sql, args...).Rows()
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var out [][]string
	for rows.Next() {
		row := make([]*string, len(columns))
		into := make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		line := make([]string, len(columns))
		for i, v := range row {
			if v != nil {
				line[i] = *v
			}
		}
		out = append(out, line)
	}
	return out, rows.Err()
}
