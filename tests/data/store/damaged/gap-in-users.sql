UPDATE user SET id = 9 WHERE id = 2;
