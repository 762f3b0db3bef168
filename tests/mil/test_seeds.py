from axilla.mil.seeds import member_seed, process_seed


def test_the_first_of_each_has_the_study_s_seed():
    assert member_seed(8888, 0) == process_seed(8888, 0) == 8888


def test_members_keep_the_seeds_that_stand_in_their_keys():
    # SeedSequence([8888, i]), as the first models were trained.
    assert [member_seed(8888, index) for index in (1, 2)] == [1225165310, 2575726527]


def test_no_process_of_a_member_shares_a_seed_with_another_member():
    members = [member_seed(seed, index) for seed in (8888, 8889) for index in range(20)]
    processes = [process_seed(member, rank) for member in members for rank in range(8)]
    assert len(set(processes)) == 2 * 20 * 8
    assert set(members) < set(processes)  # those of rank 0
    assert all(0 <= seed < 2**32 for seed in processes)
