UPDATE user SET name = 'ann';
